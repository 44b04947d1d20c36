"""Hundreds of boards in one process, powered at once, updating from one agent."""

import asyncio
import resource
from pathlib import Path

import pytest

from dice_auth.enrolment import root_certificate_for_mac
from dice_auth.registry_url import open_registry
from ota_service import OtaService
from tests import world
from tests.ota_cli.processes import server
from virtual_esp32.board import VirtualBoard, power_on
from virtual_esp32.efuse import EFuse, format_mac
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

BOARDS = 500
# The boards share one process with each other, and it with the servers on a busy machine.
PATIENT = ("--handshake-timeout", 60, "--certificate-timeout", 60, "--attestation-timeout", 60)
FLASH_BYTES = 256 * 1024
OLD = world.app("1.0.0", size=20_000)
NEW = world.app("2.0.0", size=40_000)


def mac_of(number: int) -> bytes:
    return b"\x02\x00\x00\x00" + number.to_bytes(2, "big")


async def enrol_all(registry: str) -> None:
    async with open_registry(registry) as boards:
        for number in range(BOARDS):
            mac = mac_of(number)
            await boards.enrol(format_mac(mac), root_certificate_for_mac(mac))


async def update_all(boards: list[VirtualBoard], agent: str) -> list[str]:
    """Power all boards; each updates once, reboots, confirms. What each runs in the end."""
    patience = dict.fromkeys(("connect_s", "first_byte_s", "read_s"), 60)
    settings = {"agent_ca": world.authority("test CA").ca, **patience}

    async def application(board: VirtualBoard) -> str:
        service = OtaService(board, settings)
        if await service.confirm() == "confirmed":
            return service.info()["version"]
        await service.ota_service_begin(agent)
        return "not rebooted"

    return await asyncio.gather(*(power_on(board, application) for board in boards))


def test_500_boards_in_one_process_update_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = world.authority("test CA").issue()
    for name, content in (("agent.pem", certificate), ("agent.key", key), ("new.bin", NEW)):
        (tmp_path / name).write_bytes(content)
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    asyncio.run(enrol_all(registry))
    first = flash_content(FLASH_BYTES, OLD)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    boards = [
        VirtualBoard(NorFlash(MemoryStorage(first)), EFuse(mac_of(number), chip=world.CHIP))
        for number in range(BOARDS)
    ]
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as url,
        server("agent", "--firmware", tmp_path / "new.bin", "--cert", tmp_path / "agent.pem",
               "--key", tmp_path / "agent.key", "--dice-auth-url", url,
               "--listen", "127.0.0.1:0", *PATIENT) as agent,
    ):  # fmt: skip
        versions = asyncio.run(update_all(boards, agent))
    assert versions == ["2.0.0"] * BOARDS
    kib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / BOARDS
    with capsys.disabled():
        print(f"\n{BOARDS} boards: {kib:.0f} KiB a board, of which {FLASH_BYTES // 1024} are flash")
