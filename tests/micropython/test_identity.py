"""A board's identity, on both runtimes: made once, read where it is used, never shown."""

import asyncio

from signed_images import signed_app

import dice
from dice import certificate, evidence
from dice.pem import from_pem
from esp_image.build import build_app, build_image
from ota_crypto import sha256, steps
from ota_service import OtaService, device_identity, provision, uds
from ota_service.errors import OtaError
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

OLD = signed_app("1.0.0")
UDS = bytes(range(7, 39))
MAC = b"\x02\x00\x00\x00\x00\x01"
PROVISIONED = {"identity": "provisioned"}


class Request:
    def __init__(self, accept=None, **args):
        self.args = args
        self.headers = {"Accept": accept} if accept else {}


def new_board(image=OLD, secret=None, content=None, **efuse):
    efuse.setdefault("chip", "esp32c6")
    flash = NorFlash(MemoryStorage(content or flash_content(0x40000, image)))
    board = VirtualBoard(flash, EFuse(MAC, **efuse))
    board.boot()
    if secret is not None:
        board.nvs("dice").set_blob("uds", secret)
    return board


def identity_of(board, kind="provisioned"):
    return steps.run(device_identity.identity_steps(board, kind))


def code_of(operation, *arguments):
    try:
        operation(*arguments)
    except OtaError as error:
        assert len(error.message) > 10
        return error.code
    raise AssertionError("not refused")


def read(board):
    return uds.read_uds(board, "provisioned")


def provisioned(board):
    """What `provision` shows and returns."""
    shown = []
    root = provision.provision(board, shown.append)
    return root, shown


async def until_later():
    await asyncio.sleep(0.005)


def onboard(service, **args):
    return asyncio.run(service.onboard_request_handler(Request(**args)))


def test_the_certificate_is_of_what_runs():
    board = new_board(secret=UDS)
    identity = identity_of(board)
    digest = sha256(OLD[:-4096]).digest()
    assert identity.certificate == dice.device_certificate(UDS, 2 * digest, bytes(64))
    assert identity.image_digest == sha256(OLD).digest()
    root = certificate.parse(dice.root_certificate(UDS))
    assert identity.root_public_key == root.public_key
    shown = certificate.parse(identity.certificate)
    assert certificate.verify_chain(shown, root, (2024, 1, 1, 0, 0, 0)) == []


def test_of_an_unsigned_image_all_is_measured():
    image = build_app("1.0.0", "thermo", chip="esp32c6")
    board = new_board(image, UDS)
    identity = identity_of(board)
    assert identity.code_hash == 2 * sha256(image).digest()
    assert identity.image_digest == sha256(image).digest()


def test_a_damaged_image_has_no_identity():
    board = new_board(secret=UDS)
    board.flash.write(0x10000, bytes(16))
    assert code_of(identity_of, board) == "not-measured"


def test_bootloader_secure_boot_and_secure_version_are_in_the_configuration():
    bootloader = build_image([(0x40800000, bytes(range(256)) * 20)], "esp32c6")
    content = flash_content(0x40000, OLD, None, bootloader, 0)
    board = new_board(secret=UDS, content=content, secure_version=0x0102)
    value = identity_of(board).config_value
    assert value[:32] == sha256(bootloader).digest()
    assert value[32:] == b"\x00\x02\x01\x00\x00" + bytes(27)
    none = new_board(secret=UDS, secure_version=1)
    assert identity_of(none).config_value == bytes(32) + b"\x00\x01" + bytes(30)
    fused = new_board(secret=UDS)
    fused.efuse.secure_boot = 2
    assert identity_of(fused).config_value == bytes(32) + b"\x02" + bytes(31)


def test_identity_mac_is_the_originals():
    identity = identity_of(new_board(), "mac")
    expected = dice.device_certificate(dice.uds_from_mac(MAC), bytes(64), bytes(64))
    assert identity.certificate == expected
    assert identity.image_digest == sha256(OLD).digest()


def test_evidence_is_signed_by_the_key_that_the_certificate_names():
    board = new_board(secret=UDS)
    identity = identity_of(board)
    service = OtaService(board, PROVISIONED)
    asyncio.run(service.device_certificate())
    data = steps.run(device_identity.evidence_steps(service, b"\x01" * 32, b"\x02" * 32))
    proof = evidence.decode(data)
    assert proof.certificate == identity.certificate
    assert proof.is_signed_by(certificate.parse(identity.certificate).public_key)
    assert (proof.claims.nonce, proof.claims.channel) == (b"\x01" * 32, b"\x02" * 32)


def test_a_board_that_never_had_a_uds_and_one_that_lost_it_say_so():
    board = new_board()
    assert code_of(read, board) == "not-provisioned"
    for secret in (b"", UDS[:-1], UDS + b"\0"):
        board.nvs("dice").set_blob("uds", secret)
        assert code_of(read, board) == ("uds-lost" if secret else "not-provisioned")
    board = new_board(secret=UDS)
    OtaService(board, PROVISIONED)  # its application starts
    assert read(board) == UDS
    board.nvs("dice").erase_key("uds")
    OtaService(board, PROVISIONED)
    assert code_of(read, board) == "uds-lost"
    assert code_of(provision.provision, board) == "uds-lost"
    board.nvs = lambda namespace: None
    assert code_of(read, board) == "nvs-unreadable"
    OtaService(board, PROVISIONED)


def test_an_application_that_starts_again_writes_nothing():
    board = new_board(secret=UDS)
    OtaService(board, PROVISIONED)
    operations = board.flash.operations
    OtaService(board, PROVISIONED)
    assert board.flash.operations == operations


def test_a_board_without_its_uds_gives_out_no_certificate_and_makes_none():
    board = new_board()
    said = []
    service = OtaService(board, PROVISIONED, on_event=lambda *event: said.append(event))
    body, status, _ = onboard(service)
    assert (body, status) == ("Could not generate the certificate", 500)
    assert said == [("error", "DICE certificate: not-provisioned")]
    assert code_of(read, board) == "not-provisioned"


def test_provisioning_makes_a_uds_once_and_shows_the_root_alone():
    board = new_board()
    root, shown = provisioned(board)
    secret = bytes(read(board))
    assert root == dice.root_certificate(secret)
    assert from_pem(shown[0]) == root
    fingerprint = shown[1].split(" ")[1]
    assert fingerprint == "".join(["%02x" % byte for byte in sha256(root).digest()])
    assert len(shown) == 2
    assert secret not in root
    hexed = "".join(["%02x" % byte for byte in secret])
    assert not [text for text in shown if hexed in text]
    assert code_of(provision.provision, board) == "already-provisioned"
    assert bytes(read(board)) == secret
    assert provision.show_root(board, shown.append) == root
    board.nvs("dice").erase_key("uds")
    assert code_of(provision.provision, board) == "uds-lost"
    other, _ = provisioned(new_board())
    assert other != root


def test_with_a_cable_and_without_wifi_none_is_made():
    board = new_board()
    board.radio_is_on = lambda: False
    assert board.network_is_up()
    assert code_of(provision.provision, board) == "network-down"
    assert code_of(read, board) == "not-provisioned"


def test_without_the_network_or_randomness_none_is_made():
    board = new_board()
    board.network_up = False
    assert code_of(provision.provision, board) == "network-down"
    board.network_up = True
    for stuck in (bytes(32), b"\xff" * 32, b"", bytes(31)):
        board.random = lambda size, stuck=stuck: stuck
        assert code_of(provision.provision, board) == "no-randomness"
    assert code_of(read, board) == "not-provisioned"


def test_a_uds_that_does_not_take_is_said():
    board = new_board()
    nvs = board.nvs("dice")

    class Lossy:
        def __getattr__(self, name):
            return getattr(nvs, name)

        def set_blob(self, key, value):
            nvs.set_blob(key, bytes(value[:-1]) + b"\0\1"[value[-1] == 0 :][:1])

    board.nvs = lambda namespace: Lossy() if namespace == "dice" else nvs
    assert code_of(provision.provision, board) == "nvs-write"


def test_the_root_certificate_is_given_out_in_an_open_window_only():
    service = OtaService(new_board(secret=UDS), PROVISIONED)
    root = dice.root_certificate(UDS)
    assert onboard(service, root="1")[1] == 403
    device_identity.open_root_window(service, 60)
    assert onboard(service, root="1")[:2] == (root, 200)
    text, status, _ = onboard(service, root="1", accept="application/x-pem-file")
    assert (from_pem(text), status) == (root, 200)
    device = onboard(service)[0]
    assert device not in (root, b"")
    assert onboard(service, root="0")[0] == device
    device_identity.open_root_window(service, 0)
    assert onboard(service, root="1")[1] == 403
    device_identity.open_root_window(service, 0.001)
    asyncio.run(until_later())
    assert onboard(service, root="1")[1] == 403


def test_status_tells_identity_and_protocol_and_nothing_secret():
    service = OtaService(new_board(secret=UDS), PROVISIONED)
    status = service.status()
    assert (status["identity"], status["protocol"]) == ("provisioned", 2)
    status = OtaService(new_board()).status()
    assert (status["identity"], status["protocol"]) == ("mac", 1)
