"""Who the board is: its DICE certificate, and what evidence of it claims (protocol.md, section E).

For boards that make evidence, or have a UDS; the originals' certificate is `device_certificate`'s.
Made in steps while the board goes on answering. What is secret is read where it is used and
overwritten behind that; an Identity holds nothing secret.
"""

from ota_crypto import wipe

from .compat import const, let_go, let_go_of_parser, ticks_add, ticks_ms

_CODE = const(
    (
        "dice",
        "ota_crypto",
        "ota_service.measurements",
        "ota_service.own_measurements",
        "ota_service.device_identity",
        "ota_service.uds",
    )
)


class Identity:
    """certificate: DER. root_public_key: 65 bytes. code_hash, config_value: 64 bytes each.
    image_digest: SHA-256 of the running image.

    It stays, and has no methods: they would keep the code of this module.
    """


def start(board):
    """When the application of a provisioned board starts: keep in mind that it has a UDS."""
    from .uds import note_uds

    note_uds(board)
    let_go(*_CODE)


def certificate_steps(service):
    """The board's certificate, DER. A generator that leaves its Identity in `service.identity`."""
    service.identity = yield from identity_steps(service.board, service.config.identity)
    return service.identity.certificate


def identity_steps(board, kind):
    """The board's Identity. A generator.

    kind: `mac` or `provisioned`. Its code is unloaded afterwards where memory is scarce: a board
    makes it once a boot. Raises OtaError.
    """
    measurements, image_digest = yield from _measure_steps(board, kind)
    from dice.identity import device_identity_steps

    yield
    from .uds import read_uds

    secret = read_uds(board, kind)
    try:
        root_public_key, certificate = yield from device_identity_steps(secret, *measurements)
    finally:
        wipe(secret)
    identity = Identity()
    identity.certificate, identity.root_public_key = certificate, root_public_key
    identity.code_hash, identity.config_value = measurements
    identity.image_digest = image_digest
    let_go(*_CODE)
    return identity


def _measure_steps(board, kind):
    """((code_hash, config_value), image_digest)."""
    from . import own_measurements

    code_digest, image_digest = yield from own_measurements.running_image_steps(board)
    if kind == "mac":
        from .measurements import measure_steps

        measurements = yield from measure_steps(board)
    else:
        config_value = yield from own_measurements.config_value_steps(board)
        measurements = code_digest * 2, config_value
    # What measures gives way to what signs.
    own_measurements = None
    let_go_of_parser()
    let_go(
        *_CODE,
        "esp_image.chips",
        "esp_image.chip_table",
        "esp_image.compat",
        "esp_image.checksum_viper",
    )
    return measurements, image_digest


def evidence_steps(service, nonce, channel):
    """Evidence for a challenge over a connection, bytes. A generator; `device_certificate` has
    been made.

    nonce, channel: 32 bytes each. Raises OtaError.
    """
    key = yield from _private_key_steps(service.board, service.identity, service.config.identity)
    yield
    # What derives the key gives way to what signs with it.
    let_go("dice", "ota_crypto", "ota_service.uds")
    from dice import evidence

    yield
    board, identity, descriptor = service.board, service.identity, service.descriptor
    claims = evidence.Claims(
        nonce,
        evidence.ueid_of(identity.root_public_key),
        board.chip,
        descriptor.project_name if descriptor else "",
        descriptor.version if descriptor else "",
        channel,
        identity.image_digest,
    )
    payload, signature = yield from evidence.sign_steps(key, claims)
    let_go("ota_crypto")
    return evidence.assemble(identity.certificate, payload, signature)


def _private_key_steps(board, identity, kind):
    """The DICE key, an integer; a secret."""
    from dice.identity import device_private_key_steps

    yield
    from .uds import read_uds

    secret = read_uds(board, kind)
    try:
        return (
            yield from device_private_key_steps(secret, identity.code_hash, identity.config_value)
        )
    finally:
        wipe(secret)


def open_root_window(service, seconds=300):
    """Give out the root certificate at `/onboard?root=1` for so many seconds; 0 ends it. For
    whoever enrols this board; nobody else has a use for it."""
    # At the service: this module comes and goes.
    service.root_until = ticks_add(ticks_ms(), int(seconds * 1000))
