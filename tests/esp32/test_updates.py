"""Whole updates through ota_service.boards.esp32 on a fake chip: protocol 2, a provisioned board,
real TLS. Each ends with what the flash holds and what boots."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests import world
from tests.esp32.powered import Powered, powered
from tests.ota_cli.configured import failed, is_new
from tests.ota_cli.processes import done, server
from tests.ota_service import faulty_agents as agents
from tests.ota_service.attested_agents import UDS, Request, attesting, ranged
from tests.ota_service.test_ntp import RIGHT, NtpServer, answer
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

MAC = "24:0a:c4:00:00:01"
OLD = world.app("1.0.0")
NEW = world.app("2.0.0", size=60_000)
LARGE = world.app("2.0.0", size=115_000)
CUT = 65536 + 20_000
STRANGE = world.app("2.0.0", signer="stranger")
RECORD = 65536  # a record of progress is kept after so many bytes
YEAR_2000 = 946684800
ERASED = b"\xff" * 16
FIRMWARE = ["main.py", "micropython", "cpython"]  # what runs on the chip: powered.powered


def manufacture(path: Path, image: bytes = OLD, **efuse: Any) -> Path:
    """The flash file of a provisioned board."""
    fuses = EFuse(world.MAC, chip=world.CHIP, **efuse)
    board = VirtualBoard(NorFlash(MemoryStorage(flash_content(world.FLASH_BYTES, image))), fuses)
    board.boot()
    nvs = board.nvs("dice")
    assert nvs is not None
    nvs.set_blob("uds", UDS)
    path.write_bytes(board.flash.read(0, board.flash.size))
    fuses.save(path)
    return path


def slot(flash: Path, label: str) -> bytes:
    """What a slot of the flash file holds."""
    start, size = world.SLOTS[label]
    return flash.read_bytes()[start : start + size]


def boots(flash: Path) -> tuple[str, str]:
    """(slot that boots next, its state), as `board show` has it."""
    shown = json.loads(done("board", "show", flash, "--json"))
    states = {found["label"]: found["state"] for found in shown["slots"]}
    return shown["boots"], states[shown["boots"]]


def require_old(flash: Path) -> None:
    """The old firmware boots; nothing in the spare slot can."""
    assert slot(flash, "ota_0").startswith(OLD)
    assert slot(flash, "ota_1")[:16] == ERASED
    assert boots(flash)[0] == "ota_0"


def require_new(flash: Path, image: bytes) -> None:
    """The new firmware boots and stays; the old one is still there."""
    assert slot(flash, "ota_1").startswith(image)
    assert slot(flash, "ota_0").startswith(OLD)
    assert boots(flash) == ("ota_1", "VALID")


def scripted(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings for a scripted agent."""
    (folder / "ca.der").write_bytes(agents.authority().der)
    return {
        "identity": "provisioned", "agent_ca": "ca.der", "attempts": 1, "retry_delay_s": 0,
        "ntp_host": None, **changes,
    }  # fmt: skip


def digest_of(image: bytes) -> bytes:
    """Key digest of the image's one signature block, ECDSA P-256 (boot.md)."""
    block = image[-4096:]
    return hashlib.sha256(block[36:101]).digest()


def ready(chip: Powered) -> None:
    """Wait for its endpoints."""
    chip.settled(lambda found: found["state"] == "idle")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The agent's certificate and its CA, and a registry in which the board is enrolled."""
    certificate, private = world.authority("test CA").issue()
    (tmp_path / "agent.pem").write_bytes(certificate)
    (tmp_path / "agent.key").write_bytes(private)
    (tmp_path / "ca.der").write_bytes(world.authority("test CA").ca)
    done("provision", MAC, "-o", tmp_path / "made", "--registry", registry(tmp_path))
    return tmp_path


def registry(desk: Path) -> str:
    return f"sqlite:///{desk}/boards.sqlite"


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_an_enrolled_board_updates_from_the_real_agent(firmware: str, desk: Path) -> None:
    """provision, attest serve, agent: the servers as operators run them."""
    flash, app, served = (desk / name for name in ("flash.bin", "app.bin", "served.bin"))
    app.write_bytes(OLD)
    served.write_bytes(NEW)
    (nvs,) = (desk / "made").glob("*-nvs.bin")
    done("board", "create", flash, "--app", app, "--chip", world.CHIP, "--mac", MAC, "--nvs", nvs,
         "--size", "1MB")  # fmt: skip
    settings = {"identity": "provisioned", "agent_ca": "ca.der", "ntp_host": None}
    with (
        server(
            "attest", "serve", "--registry", registry(desk), "--listen", "127.0.0.1:0"
        ) as attestation,
        server(
            "agent", "--firmware", served, "--cert", desk / "agent.pem",
            "--key", desk / "agent.key", "--dice-auth-url", attestation,
            "--require-attestation", "--listen", "127.0.0.1:0",
        ) as agent,
        powered(firmware, flash, settings) as chip,
    ):  # fmt: skip
        ready(chip)
        done("update", chip.url, "--agent", agent)
        status = chip.settled(is_new)
        assert chip.boots == 2
    assert status["protocol"] == 2
    assert status["error"] is None
    require_new(flash, NEW)


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_firmware_of_a_stranger_is_refused(firmware: str, tmp_path: Path) -> None:
    flash = manufacture(tmp_path / "flash.bin")
    with (
        attesting(ranged(STRANGE)) as (_, agent),
        powered(firmware, flash, scripted(tmp_path)) as chip,
    ):
        ready(chip)
        chip.update(agent.address)
        status = chip.settled(failed)
        assert chip.boots == 1
    assert status["error"]["code"] == "key-untrusted"
    assert status["running"] == "ota_0"
    require_old(flash)


@pytest.mark.parametrize("firmware", FIRMWARE[:2])
def test_firmware_that_fails_its_self_test_goes_back(firmware: str, tmp_path: Path) -> None:
    flash = manufacture(tmp_path / "flash.bin")
    with (
        attesting(ranged(NEW)) as (_, agent),
        powered(firmware, flash, scripted(tmp_path), fails_in="ota_1") as chip,
    ):
        ready(chip)
        chip.update(agent.address)
        status = chip.settled(lambda found: found["error"] is not None)
        assert chip.boots == 3
    assert status["error"]["code"] == "rolled-back"
    assert "its self-test failed" in status["error"]["message"]
    assert (status["running"], status["confirmed"]) == ("ota_0", True)
    assert boots(flash)[0] == "ota_0"
    assert slot(flash, "ota_0").startswith(OLD)


def test_firmware_that_loses_power_before_it_has_confirmed_itself_goes_back(
    tmp_path: Path,
) -> None:
    flash = manufacture(tmp_path / "flash.bin")
    settings = scripted(tmp_path)
    with (
        attesting(ranged(NEW)) as (_, agent),
        powered("micropython", flash, settings, hangs_in="ota_1") as chip,
    ):
        ready(chip)
        chip.update(agent.address)
        chip.wait_for(lambda events: ["running", "ota_1"] in events)
        chip.cut_power()
        chip.wait_off()
    with powered("micropython", flash, settings) as chip:
        status = chip.settled(lambda found: found["error"] is not None)
    assert status["error"]["code"] == "rolled-back"
    assert "before it had confirmed" in status["error"]["message"]
    assert boots(flash)[0] == "ota_0"


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_a_lost_transfer_goes_on_where_it_was_lost(firmware: str, tmp_path: Path) -> None:
    flash = manufacture(tmp_path / "flash.bin")
    with (
        attesting([ranged(NEW, 30_000), ranged(NEW)]) as (script, agent),
        powered(firmware, flash, scripted(tmp_path, attempts=2)) as chip,
    ):
        ready(chip)
        chip.update(agent.address)
        chip.settled(is_new)
    assert script.ranges == [None, "bytes=30000-"]
    require_new(flash, NEW)


@pytest.mark.parametrize("firmware", FIRMWARE[:2])
def test_after_a_power_cut_it_goes_on_from_what_is_in_flash(firmware: str, tmp_path: Path) -> None:
    flash = manufacture(tmp_path / "flash.bin")
    settings = scripted(tmp_path)
    chips: list[Powered] = []

    def until_cut(request: Request) -> Iterable[bytes]:
        (answer,) = ranged(LARGE)(request)
        yield answer[: answer.index(b"\r\n\r\n") + 4 + CUT]
        chips[0].settled(lambda found: found["received"] == CUT)
        chips[0].cut_power()

    with attesting([until_cut, ranged(LARGE)]) as (script, agent):
        with powered(firmware, flash, settings) as chip:
            chips.append(chip)
            ready(chip)
            chip.update(agent.address)
            chip.wait_off()
        require_old(flash)
        with powered(firmware, flash, settings) as chip:
            ready(chip)
            chip.update(agent.address)
            chip.settled(is_new)
    assert script.ranges == [None, f"bytes={RECORD}-"]
    require_new(flash, LARGE)


def test_where_secure_boot_is_on_the_keys_in_efuse_decide(tmp_path: Path) -> None:
    """Not the configured one, which would take both."""
    owners, revoked = (digest_of(world.app("2.0.0", signer=name)) for name in ("owner", "revoked"))
    flash = manufacture(
        tmp_path / "flash.bin", secure_boot=2, key_digests=[revoked, owners], revoked=[True, False]
    )
    settings = scripted(tmp_path, trusted_keys=[owners.hex(), revoked.hex()])
    refused = world.app("2.0.0", signer="revoked", size=60_000)
    with (
        attesting([ranged(refused), ranged(NEW)]) as (_, agent),
        powered("micropython", flash, settings) as chip,
    ):
        ready(chip)
        chip.update(agent.address)
        status = chip.settled(failed)
        require_old(flash)
        chip.update(agent.address)
        chip.settled(is_new)
    assert status["error"]["code"] == "key-revoked"
    require_new(flash, NEW)


def test_the_clock_is_set_and_its_floor_kept(tmp_path: Path) -> None:
    """The chip starts in 2000; NTP's time outlives the reset and is kept when the new firmware has
    confirmed itself."""
    flash = manufacture(tmp_path / "flash.bin")
    with (
        NtpServer(lambda question: [answer(question)]) as ntp,
        attesting(ranged(NEW)) as (_, agent),
        powered("micropython", flash, scripted(tmp_path, ntp_host=f"127.0.0.1:{ntp.port}")) as chip,
    ):
        ready(chip)
        chip.update(agent.address)
        chip.settled(is_new)
    clock = [detail for name, detail in chip.events if name == "clock"]
    assert [text.endswith("2026-11-25 12:34:56 UTC") for text in clock] == [True], clock
    board = VirtualBoard(NorFlash(MemoryStorage(flash.read_bytes())), EFuse.load(flash))
    board.boot()
    nvs = board.nvs("ota")
    assert nvs is not None
    assert 0 <= nvs.get_i32("time") - (RIGHT - YEAR_2000) < 60
    require_new(flash, NEW)
