"""Who the board is: its DICE certificate, and what evidence of it claims (protocol.md, section E).

For boards that make evidence, or have a UDS; the originals' certificate is `device_certificate`'s.
Made in steps while the board goes on answering. What is secret is read where it is used and
overwritten behind that; an Identity holds nothing secret.
"""

from ota_crypto import wipe

from . import uds
from .compat import const, let_go, ticks_add, ticks_diff, ticks_ms
from .errors import BadRequest

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
    image_digest: SHA-256 of the running image. status: for GET /update, `verdict`: what an
    attestation server said of this board the last time, None before."""

    def __init__(self, certificate, root_public_key, measurements, image_digest):
        self.certificate = certificate
        self.root_public_key = root_public_key
        self.code_hash, self.config_value = measurements
        self.image_digest = image_digest
        self.status = {"verdict": None}


def start(board):
    """When the application of a provisioned board starts: keep in mind that it has a UDS."""
    uds.note_uds(board)
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
    import dice

    yield
    secret = uds.read_uds(board, kind)
    try:
        root_public_key, certificate = yield from dice.device_identity_steps(secret, *measurements)
    finally:
        wipe(secret)
    let_go(*_CODE)
    return Identity(certificate, root_public_key, measurements, image_digest)


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
    let_go(*_CODE, "esp_image.parser", "esp_image.segments", "esp_image.chips")
    return measurements, image_digest


def evidence_steps(service, nonce, channel):
    """Evidence for a challenge over a connection, bytes. A generator; `device_certificate` has
    been made.

    nonce, channel: 32 bytes each. Raises OtaError.
    """
    import dice
    from dice import evidence

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
    yield
    secret = uds.read_uds(board, service.config.identity)
    try:
        key = dice.device_private_key(secret, identity.code_hash, identity.config_value)
    finally:
        wipe(secret)
    yield
    return (yield from evidence.encode_steps(key, identity.certificate, claims))


# -- the root certificate -------------------------------------------------------------------------


def open_root_window(service, seconds=300):
    """Give out the root certificate at `/onboard?root=1` for so many seconds; 0 ends it. For
    whoever enrols this board; nobody else has a use for it."""
    # At the service: this module comes and goes.
    service.root_until = ticks_add(ticks_ms(), int(seconds * 1000))


async def certificate(service, arguments):
    """The certificate that a GET /onboard with these query arguments is for, DER. Raises
    BadRequest while the root certificate is not given out, OtaError."""
    if arguments.get("root") != "1":
        return await service.device_certificate()
    until = getattr(service, "root_until", None)
    if until is None or ticks_diff(until, ticks_ms()) <= 0:
        raise BadRequest("the root certificate is not given out now", 403, "window-closed")
    return await service.stepped(root_certificate_steps(service.board, service.config.identity))


def root_certificate_steps(board, kind):
    """The board's root certificate, DER. A generator. Raises OtaError."""
    import dice

    secret = uds.read_uds(board, kind)
    try:
        certificate = yield from dice.root_certificate_steps(secret)
    finally:
        wipe(secret)
    let_go("dice", "ota_crypto")
    return certificate
