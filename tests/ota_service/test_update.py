"""Updates over real TLS into a board in memory: what is installed, what is refused, and what the
flash holds and what boots after each."""

import asyncio
import hashlib
from typing import Any

import pytest

import dice
from dice import certificate
from esp_image import ImageParser
from ota_service import OtaError, OtaService
from tests import world
from tests.esp_image import signing
from virtual_esp32.board import VirtualBoard

OLD = world.app("1.0.0")
NEW = world.app("2.0.0", size=60_000)


def tampered(image: bytes) -> bytes:
    """One bit of the program changed, checksum and SHA-256 made to fit."""
    parser = ImageParser()
    parser.feed(image)
    end = parser.image_bytes - 32
    changed = bytearray(image)
    changed[end // 2] ^= 1
    changed[end - 1] ^= 1
    changed[end : end + 32] = hashlib.sha256(changed[:end]).digest()
    return bytes(changed)


def flipped(image: bytes, offset: int) -> bytes:
    changed = bytearray(image)
    changed[offset] ^= 0x80
    return bytes(changed)


async def update(board: VirtualBoard, *sessions: world.Session, **options: Any) -> OtaService:
    """One update against an agent with these sessions; the service afterwards."""
    context = options.pop("context", world.server_context())
    async with world.Agent(*sessions, context=context) as agent:
        service = world.service(board, agent, **options)
        await service.ota_service_begin("127.0.0.1")
        return service


def failure(board: VirtualBoard, *sessions: world.Session, **options: Any) -> OtaError:
    with pytest.raises(OtaError) as caught:
        asyncio.run(update(board, *sessions, **options))
    return caught.value


def boots(board: VirtualBoard) -> str:
    """Boot it again; the slot that boots."""
    return board.boot().partition.label


def test_a_genuine_update_boots_once_confirmed_it_stays() -> None:
    board = world.board(OLD)
    service = asyncio.run(update(board, world.sends(NEW)))
    assert service.status()["state"] == "rebooting"
    assert board.reset_requested
    assert world.slot_bytes(board, "ota_1")[: len(NEW)] == NEW
    assert boots(board) == "ota_1"
    fresh = OtaService(board)
    assert fresh.status()["confirmed"] is False
    assert asyncio.run(fresh.confirm()) == "confirmed"
    assert fresh.status() == {
        "state": "idle", "received": 0, "total": None, "attempt": 0, "slot": None,
        "running": "ota_1", "confirmed": True, "error": None,
        "identity": "mac", "protocol": 1,
    }  # fmt: skip
    assert boots(board) == "ota_1"
    assert fresh.info()["version"] == "2.0.0"


def test_the_board_sends_the_certificate_of_its_mac_and_nothing_else() -> None:
    board = world.board(OLD)

    async def run() -> list[bytes]:
        async with world.Agent(world.sends(NEW), context=world.server_context()) as agent:
            await world.service(board, agent).ota_service_begin("127.0.0.1")
            return agent.certificates

    uds = dice.uds_from_mac(world.MAC)
    assert asyncio.run(run()) == [dice.device_certificate(uds, bytes(64), bytes(64))]


def test_updates_go_back_and_forth_between_the_slots() -> None:
    board = world.board(OLD)
    for version, slot in (("2.0.0", "ota_1"), ("3.0.0", "ota_0"), ("2.5.0", "ota_1")):
        asyncio.run(update(board, world.sends(world.app(version))))
        assert boots(board) == slot
        asyncio.run(OtaService(board).confirm())


def test_bytes_may_come_one_at_a_time() -> None:
    image = world.app("2.0.0", size=9_000)
    board = world.board(OLD)
    asyncio.run(update(board, world.sends(image, pieces=1)))
    assert boots(board) == "ota_1"


REFUSED = {
    "a bit flipped on the way": (flipped(NEW, 30_000), "checksum"),
    "tampered with valid hashes": (tampered(NEW), "digest-mismatch"),
    "a stranger's signature": (world.app("2.0.0", "stranger"), "key-untrusted"),
    "the owner's signature and a stranger's": (
        signing.sign(world.app("2.0.0", None), world.key("owner"), world.key("stranger")),
        "extra-block",
    ),
    "unsigned": (world.app("2.0.0", None), "unsigned"),
    "unsigned, padded as if signed": (
        signing.pad(world.app("2.0.0", None)) + b"\xff" * 4096,
        "unsigned",
    ),
    "another chip's": (world.app("2.0.0", chip="esp32h2"), "chip-mismatch"),
    "the running one": (OLD, "same-image"),
    "too large for the slot": (world.app("2.0.0", size=400_000), "too-large"),
    "not an image": (b"<html>not found</html>" * 400, "magic"),
    "bytes after the end": (NEW + b"\x00", "trailing-data"),
    "two images in a row": (NEW + NEW, "trailing-data"),
    "cut short": (NEW[:-4096], "truncated"),
    "cut short after one byte": (NEW[:1], "truncated"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_must_not_be_installed_leaves_the_board_as_it_was(what: str) -> None:
    image, code = REFUSED[what]
    board = world.board(OLD)
    before = bytes(board.flash.read(0, 0x70000))
    error = failure(board, world.sends(image))
    assert error.code == code, error
    assert error.message
    assert "\n" not in error.message
    assert bytes(board.flash.read(0, 0x70000)) == before
    assert world.slot_bytes(board, "ota_1")[:16] == b"\xff" * 16
    assert boots(board) == "ota_0"
    asyncio.run(update(board, world.sends(NEW)))
    assert boots(board) == "ota_1"


def test_the_refused_image_is_not_even_erased_for_when_its_header_says_no() -> None:
    board = world.board(OLD)
    operations = board.flash.operations
    failure(board, world.sends(world.app("2.0.0", chip="esp32h2")))
    assert board.flash.operations == operations


def test_an_older_secure_version_is_refused_under_any_policy() -> None:
    board = world.board(world.app("1.0.0", secure_version=3))
    error = failure(board, world.sends(world.app("2.0.0", secure_version=2)), policy="any")
    assert error.code == "secure-version"
    board = world.board(OLD, secure_version=1)
    assert failure(board, world.sends(NEW), policy="any").code == "secure-version"


def test_the_secure_version_floor_rises_when_new_firmware_confirms_itself() -> None:
    board = world.board(OLD)
    asyncio.run(update(board, world.sends(world.app("2.0.0", secure_version=2))))
    boots(board)
    asyncio.run(OtaService(board).confirm())
    asyncio.run(update(board, world.sends(world.app("3.0.0", secure_version=2)), policy="any"))
    boots(board)
    asyncio.run(OtaService(board).confirm())
    # Someone puts old firmware back by cable: what it would install stays bounded by NVS.
    content = board.flash.read(*world.SLOTS["ota_0"])
    start, size = world.SLOTS["ota_0"]
    for sector in range(start // 4096, (start + size) // 4096):
        board.flash.erase_sector(sector)
    board.flash.write(start, OLD)
    board.flash.erase_sector(0xD)
    board.flash.erase_sector(0xE)
    assert content != OLD
    assert boots(board) == "ota_0"
    assert OtaService(board).info()["version"] == "1.0.0"
    error = failure(board, world.sends(world.app("4.0.0", secure_version=1)), policy="any")
    assert error.code == "secure-version"
    asyncio.run(update(board, world.sends(world.app("4.0.0", secure_version=2)), policy="any"))


def test_policies_decide_what_is_new() -> None:
    board = world.board(world.app("1.5.0"))
    assert failure(board, world.sends(OLD), policy="newer").code == "not-newer"
    asyncio.run(update(board, world.sends(OLD), policy="different"))
    board = world.board(OLD)
    asyncio.run(update(board, world.sends(OLD), policy="any"))
    assert boots(board) == "ota_1"


def test_a_pinned_project_is_the_only_one_installed() -> None:
    board = world.board(OLD)
    image = world.app("2.0.0", project="other")
    assert failure(board, world.sends(image), project="thermo").code == "project-mismatch"


def test_a_configured_key_counts_before_the_running_images_own() -> None:
    digest = ImageParser()
    digest.feed(NEW)
    from esp_image.signature import parse_sector

    owner = parse_sector(digest.signature_sector)[0].key_digest
    board = world.board(world.app("1.0.0", "stranger"))
    asyncio.run(update(board, world.sends(NEW), trusted_keys=[owner.hex()]))
    assert boots(board) == "ota_1"
    board = world.board(OLD)
    error = failure(board, world.sends(world.app("2.0.0", "stranger")), trusted_keys=[owner])
    assert error.code == "key-untrusted"


def test_without_any_key_to_trust_nothing_is_installed_unless_that_is_configured() -> None:
    unsigned = world.app("2.0.0", None)
    board = world.board(world.app("1.0.0", None))
    assert failure(board, world.sends(unsigned)).code == "no-trusted-key"
    assert failure(board, world.sends(NEW)).code == "no-trusted-key"
    asyncio.run(update(board, world.sends(unsigned), allow_unsigned=True))
    assert boots(board) == "ota_1"


def test_unsigned_images_stay_refused_where_a_key_is_trusted() -> None:
    board = world.board(OLD)
    error = failure(board, world.sends(world.app("2.0.0", None)), allow_unsigned=True)
    assert error.code == "unsigned"


def test_a_board_without_the_agents_ca_refuses_every_update() -> None:
    board = world.board(OLD)
    assert failure(board, world.sends(NEW), agent_ca=()).code == "no-agent-ca"


@pytest.mark.parametrize(
    ("context", "code"),
    [
        (world.server_context(ca="another CA"), "agent-unknown-issuer"),
        (world.server_context(name="other-agent"), "agent-wrong-name"),
        (world.server_context(expired=True), "agent-expired"),
    ],
    ids=["another CA", "another name", "expired"],
)
def test_an_agent_that_cannot_prove_itself_gets_no_certificate_and_no_second_try(
    context: Any, code: str
) -> None:
    board = world.board(OLD)

    async def run() -> tuple[OtaError, world.Agent]:
        async with world.Agent(world.sends(NEW), context=context) as agent:
            with pytest.raises(OtaError) as caught:
                await world.service(board, agent, attempts=3).ota_service_begin("127.0.0.1")
            return caught.value, agent

    error, agent = asyncio.run(run())
    assert error.code == code
    assert agent.certificates == []
    assert world.slot_bytes(board, "ota_1") == b"\xff" * world.SLOTS["ota_1"][1]


def test_an_agent_without_tls_is_an_error_of_its_own() -> None:
    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await writer.drain()

    assert failure(world.board(OLD), greets, context=None).code == "no-tls"


def test_no_agent_at_the_address_is_retried_and_then_reported() -> None:
    async def run() -> OtaService:
        board = world.board(OLD)
        async with world.Agent(world.sends(NEW), context=None) as agent:
            service = world.service(board, agent, attempts=3)
        with pytest.raises(OtaError) as caught:
            await service.ota_service_begin("127.0.0.1")
        assert caught.value.code == "agent-unreachable"
        return service

    assert asyncio.run(run()).status()["attempt"] == 3


def test_a_refused_board_sees_no_byte_and_does_not_try_again() -> None:
    async def run() -> None:
        board = world.board(OLD)
        async with world.Agent(world.sends(b""), context=world.server_context()) as agent:
            service = world.service(board, agent, attempts=5)
            with pytest.raises(OtaError) as caught:
                await service.ota_service_begin("127.0.0.1")
            assert caught.value.code == "attestation-refused"
            assert agent.connections == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("first", "cut"),
    [
        (world.resets_after, 0x5000),
        (world.sends, 0x5000),
        (world.stalls_after, 0x5000),
        (world.resets_after, 17),
    ],
)
def test_a_transfer_that_breaks_off_is_tried_again_from_the_start(first: Any, cut: int) -> None:
    board = world.board(OLD)
    sessions = (first(NEW[:cut]), world.sends(NEW))
    asyncio.run(update(board, *sessions, attempts=2, read_s=0.3))
    assert boots(board) == "ota_1"


def test_an_agent_that_keeps_the_connection_open_after_the_image_does_no_harm() -> None:
    board = world.board(OLD)
    asyncio.run(update(board, world.stalls_after(NEW)))
    assert boots(board) == "ota_1"


def test_a_cancelled_update_says_so_and_leaves_the_slot_unbootable() -> None:
    board = world.board(OLD)

    async def run() -> OtaService:
        async with world.Agent(
            world.stalls_after(NEW[:0x8000]), context=world.server_context()
        ) as agent:
            service = world.service(board, agent)
            task = asyncio.create_task(service.ota_service_begin("127.0.0.1"))
            while service.status()["received"] < 0x8000:
                await asyncio.sleep(0.01)
            with pytest.raises(OtaError, match="running"):
                await service.ota_service_begin("127.0.0.1")
            await service.end()
            with pytest.raises(asyncio.CancelledError):
                await task
            return service

    status = asyncio.run(run()).status()
    assert status["state"] == "failed"
    assert status["error"]["code"] == "cancelled"
    assert world.slot_bytes(board, "ota_1")[:4096] == b"\xff" * 4096
    assert boots(board) == "ota_0"


async def _fails() -> bool:
    return False


async def _raises() -> bool:
    raise OSError("no network")


async def _hangs() -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("self_test", [_fails, _raises, _hangs])
def test_firmware_that_fails_its_self_test_goes_back_and_the_reason_is_readable(
    self_test: Any,
) -> None:
    board = world.board(OLD)
    asyncio.run(update(board, world.sends(NEW)))
    assert boots(board) == "ota_1"
    new = OtaService(board, {"self_test_s": 0.2}, self_test=self_test)
    assert asyncio.run(new.confirm()) == "rolled-back"
    assert board.reset_requested
    assert boots(board) == "ota_0"
    back = OtaService(board)
    assert back.status()["error"]["code"] == "rolled-back"
    assert back.status()["confirmed"] is True
    asyncio.run(update(board, world.sends(NEW)))
    assert boots(board) == "ota_1"


def test_new_firmware_does_not_update_before_it_has_confirmed_itself() -> None:
    board = world.board(OLD)
    asyncio.run(update(board, world.sends(NEW)))
    boots(board)
    assert failure(board, world.sends(world.app("3.0.0"))).code == "not-confirmed"


@pytest.mark.parametrize("chunk", range(1, 16, 2))
def test_a_cancelled_update_is_never_installed_whenever_it_is_cancelled(chunk: int) -> None:
    """Cancelled while data is there to be read: before Python 3.12 asyncio.wait_for can lose it."""
    board = world.board(OLD)

    async def run() -> OtaService:
        async with world.Agent(world.sends(NEW), context=world.server_context()) as agent:
            service = world.service(board, agent)
            loop = asyncio.get_running_loop()
            seen = []

            def progress(received: int, total: int | None) -> None:
                seen.append(received)
                if len(seen) == chunk:
                    # After the next read has got its data, before the update sees it.
                    loop.call_soon(loop.call_soon, service.ota_cancel_handler, None)

            service._on_progress = progress
            with pytest.raises((asyncio.CancelledError, OtaError)):
                await service.ota_service_begin("127.0.0.1")
            return service

    status = asyncio.run(run()).status()
    assert (status["state"], status["error"]["code"]) == ("failed", "cancelled")
    assert not board.reset_requested
    assert boots(board) == "ota_0"
    assert world.slot_bytes(board, "ota_1")[:16] == b"\xff" * 16


def test_one_board_has_one_update_whoever_starts_it() -> None:
    board = world.board(OLD)

    async def run() -> None:
        async with world.Agent(world.sends(NEW), context=world.server_context()) as agent:
            first, second = (world.service(board, agent) for _ in range(2))
            results = await asyncio.gather(
                first.ota_service_begin("127.0.0.1"),
                second.ota_service_begin("127.0.0.1"),
                return_exceptions=True,
            )
            assert results[0] is None
            assert isinstance(results[1], OtaError)
            assert results[1].code == "busy"

    asyncio.run(run())
    assert boots(board) == "ota_1"


def test_an_application_that_has_ended_takes_no_more_updates() -> None:
    async def run() -> None:
        board = world.board(OLD)
        async with world.Agent(world.sends(NEW), context=world.server_context()) as agent:
            service = world.service(board, agent)
            await service.end()
            with pytest.raises(OtaError, match="stopping"):
                await service.ota_service_begin("127.0.0.1")

    asyncio.run(run())


def test_firmware_that_is_not_what_otadata_names_does_not_confirm_it() -> None:
    board = world.board(OLD)
    asyncio.run(update(board, world.sends(NEW)))
    board.flash.write(world.SLOTS["ota_1"][0] + 0x1000, bytes(64))  # rots before its first boot
    assert boots(board) == "ota_0"
    old = OtaService(board)
    assert old.status()["error"]["code"] == "rolled-back"
    assert asyncio.run(old.confirm()) == "valid"
    assert boots(board) == "ota_0"
    asyncio.run(update(board, world.sends(NEW)))
    assert boots(board) == "ota_1"
    assert OtaService(board).status()["confirmed"] is False


def test_where_unsigned_images_are_allowed_signed_ones_are_too() -> None:
    board = world.board(world.app("1.0.0", None))
    asyncio.run(update(board, world.sends(NEW), allow_unsigned=True))
    assert boots(board) == "ota_1"
    assert world.slot_bytes(board, "ota_1")[: len(NEW)] == NEW


def test_a_refusal_before_the_first_attempt_is_a_failure_to_see() -> None:
    board = world.board(OLD)

    async def run() -> dict[str, Any]:
        service = OtaService(board, {"attempts": 1})
        with pytest.raises(OtaError):
            await service.ota_service_begin("127.0.0.1")
        return service.status()

    status = asyncio.run(run())
    assert (status["state"], status["error"]["code"]) == ("failed", "no-agent-ca")


@pytest.mark.parametrize("failing", range(1, 26, 4))
def test_flash_that_refuses_an_operation_is_named_and_the_old_firmware_stays(failing: int) -> None:
    board = world.board(OLD)
    write, seen = board.flash.write, []

    def refusing(offset: int, data: bytes) -> None:
        seen.append(offset)
        if len(seen) == failing:
            raise OSError(-261, "ESP_ERR_FLASH_OP_FAIL")
        write(offset, data)

    board.flash.write = refusing
    service = world.Agent(world.sends(NEW), context=world.server_context())

    async def run() -> OtaService:
        async with service as agent:
            updating = world.service(board, agent)
            with pytest.raises(OtaError):
                await updating.ota_service_begin("127.0.0.1")
            return updating

    if failing > len(NEW) // 4096 + 2:
        return  # this update has fewer writes
    status = asyncio.run(run()).status()
    board.flash.write = write
    assert (status["state"], status["error"]["code"]) in (
        ("failed", "flash-write"),
        ("failed", "set-boot"),
    )
    assert boots(board) == "ota_0"
    asyncio.run(update(board, world.sends(NEW)))
    assert boots(board) == "ota_1"


def test_hooks_that_raise_do_not_break_an_update() -> None:
    board = world.board(OLD)

    def broken(*arguments: object) -> None:
        raise ValueError("the application's own bug")

    async def run() -> None:
        async with world.Agent(world.sends(NEW), context=world.server_context()) as agent:
            settings = {"agent_ca": world.authority("test CA").ca, "agent_port": agent.port}
            service = OtaService(board, settings, on_progress=broken, on_event=broken)
            await service.ota_service_begin("127.0.0.1")

    asyncio.run(run())
    assert boots(board) == "ota_1"


def test_secure_boot_trusts_the_keys_in_efuse_alone() -> None:
    def digest_of(image: bytes) -> bytes:
        from esp_image.signature import parse_sector

        parser = ImageParser()
        parser.feed(image)
        return parse_sector(parser.signature_sector)[0].key_digest

    owner, second = digest_of(OLD), digest_of(world.app("2.0.0", "second"))
    fuses = {"secure_boot": 2, "key_digests": [owner, second]}
    board = world.board(OLD, **fuses)
    stranger = world.app("2.0.0", "stranger")
    trusting = {"trusted_keys": [digest_of(stranger)]}
    assert failure(board, world.sends(stranger), **trusting).code == "key-untrusted"
    asyncio.run(update(board, world.sends(world.app("2.0.0", "second"))))
    assert boots(board) == "ota_1"
    board = world.board(OLD, **fuses, revoked=[False, True])
    error = failure(board, world.sends(world.app("2.0.0", "second")))
    assert error.code == "key-revoked"


def test_the_certificate_names_the_board_in_pem_and_der() -> None:
    class Request:
        def __init__(self, accept: str | None) -> None:
            self.headers = {"Accept": accept} if accept else {}

    service = OtaService(world.board(OLD))
    der, status, headers = asyncio.run(service.onboard_request_handler(Request(None)))
    assert (status, headers["Content-Type"]) == (200, "application/pkix-cert")
    certificate.parse(der)
    pem, _, headers = asyncio.run(
        service.onboard_request_handler(Request("application/x-pem-file"))
    )
    assert headers["Content-Type"] == "application/x-pem-file"
    assert certificate.from_pem(pem) == der


def test_one_chip_has_one_update_however_many_board_objects_stand_for_it() -> None:
    """Two at once would write over what the other has verified."""
    board = world.board(OLD)
    twin = VirtualBoard(board.flash, board.efuse)
    twin.partitions, twin.decision = board.partitions, board.decision

    async def run() -> None:
        async with world.Agent(world.sends(NEW), context=world.server_context()) as agent:
            results = await asyncio.gather(
                *(world.service(b, agent).ota_service_begin("127.0.0.1") for b in (board, twin)),
                return_exceptions=True,
            )
        assert results[0] is None
        assert isinstance(results[1], OtaError)
        assert results[1].code == "busy"

    asyncio.run(run())


def test_a_thousand_attempts_are_not_too_many() -> None:
    async def run() -> OtaService:
        async with world.Agent(world.sends(b""), context=None) as agent:
            service = world.service(world.board(OLD), agent, attempts=3000)
        with pytest.raises(OtaError) as caught:
            await service.ota_service_begin("127.0.0.1")
        assert caught.value.code == "agent-unreachable"
        return service

    assert asyncio.run(run()).status()["attempt"] == 3000


@pytest.mark.parametrize("turns", range(0, 12, 2))
def test_cancelled_again_while_it_is_being_cancelled_an_update_ends_all_the_same(
    turns: int,
) -> None:
    board = world.board(OLD)

    async def run() -> OtaService:
        stalling = world.stalls_after(NEW[:0x8000])
        async with world.Agent(stalling, context=world.server_context()) as agent:
            service = world.service(board, agent)
            task = asyncio.create_task(service.ota_service_begin("127.0.0.1"))
            while service.status()["received"] < 0x8000:
                await asyncio.sleep(0.01)
            for _ in range(3):
                service.ota_cancel_handler(None)
                for _ in range(turns):
                    await asyncio.sleep(0)
            await service.end()
            await asyncio.gather(task, return_exceptions=True)
            return service

    assert asyncio.run(run()).status()["error"]["code"] == "cancelled"
    assert boots(board) == "ota_0"


def test_a_ca_that_is_no_certificate_is_called_that() -> None:
    assert failure(world.board(OLD), world.sends(NEW), agent_ca=b"0rubbish").code == "no-agent-ca"


def test_flash_is_written_a_sector_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    board = world.board(OLD)
    start, size = world.SLOTS["ota_1"]
    lengths = []
    write = board.flash.write

    def counted(offset: int, data: bytes) -> None:
        if start <= offset < start + size:
            lengths.append(len(data))
        write(offset, data)

    monkeypatch.setattr(board.flash, "write", counted)
    asyncio.run(update(board, world.sends(NEW, pieces=64)))
    assert boots(board) == "ota_1"
    # The last is what was held back of the first sector, padded to a page of flash.
    assert len(lengths) <= -(-len(NEW) // 4096) + 1
    assert all(length >= 4000 for length in lengths[:-1])
