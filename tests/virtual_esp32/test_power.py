"""Power, resets and the watchdog of a virtual board."""

import asyncio
from pathlib import Path

import pytest

from ota_service import OtaService
from tests import world
from virtual_esp32 import VirtualBoardError
from virtual_esp32.board import VirtualBoard, power_on
from virtual_esp32.efuse import EFuse


def test_a_reset_boots_again_and_the_end_of_the_application_is_the_end() -> None:
    board = world.board(world.app("1.0.0"))
    boots = []

    async def application(of: VirtualBoard) -> str:
        boots.append(of.decision.partition.label)
        if len(boots) < 3:
            of.reset()
            await asyncio.Event().wait()
        return "done"

    assert asyncio.run(power_on(board, application)) == "done"
    assert boots == ["ota_0"] * 3


def test_power_goes_off_also_in_the_moment_of_a_reset() -> None:
    """The old application is ending, and the board would boot again."""
    boots, ended = [], []

    async def run() -> None:
        async def application(of: VirtualBoard) -> None:
            boots.append(of.decision.partition.label)
            if len(boots) > 1:
                return
            of.reset()
            try:
                await asyncio.Event().wait()
            finally:
                on.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                ended.append(True)

        on = asyncio.create_task(power_on(world.board(world.app("1.0.0")), application))
        async with asyncio.timeout(10):
            await asyncio.wait((on,))
        assert on.cancelled()

    asyncio.run(run())
    assert (boots, ended) == (["ota_0"], [True])


def test_what_the_application_raises_comes_out() -> None:
    async def application(of: VirtualBoard) -> None:
        raise ValueError("its own bug")

    with pytest.raises(ValueError, match="its own bug"):
        asyncio.run(power_on(world.board(world.app("1.0.0")), application))


def test_a_board_that_boots_nothing_says_what_it_tried() -> None:
    board = world.board(world.app("1.0.0"))
    board.flash.erase_sector(world.SLOTS["ota_0"][0] // 4096)
    with pytest.raises(VirtualBoardError, match="ota_0: magic 0xff"):
        board.boot()


def test_new_firmware_that_hangs_is_rolled_back_by_the_watchdog() -> None:
    board = world.board(world.app("1.0.0"))
    board.watchdog_s = 0.05
    versions = []

    async def run(agent: world.Agent) -> None:
        async def application(of: VirtualBoard) -> None:
            service = world.service(of, agent)
            versions.append(service.info()["version"])
            if versions == ["1.0.0"]:
                await service.ota_service_begin("127.0.0.1")
                await asyncio.Event().wait()
            if versions[-1] == "2.0.0":
                await asyncio.Event().wait()  # hangs, and feeds no watchdog

        await power_on(board, application)

    async def play() -> None:
        session = world.sends(world.app("2.0.0"))
        async with world.Agent(session, context=world.server_context()) as agent:
            await run(agent)

    asyncio.run(play())
    assert versions == ["1.0.0", "2.0.0", "1.0.0"]
    assert OtaService(board).status()["error"]["code"] == "rolled-back"


def test_a_secure_version_burnt_by_the_bootloader_is_kept_in_the_sidecar(tmp_path: Path) -> None:
    made = world.board(world.app("1.0.0", secure_version=3))
    path = str(tmp_path / "f.bin")
    made.efuse.save(path)
    made.mark_app_valid_cancel_rollback()
    board = VirtualBoard(made.flash, EFuse.load(path), anti_rollback=True, flash_path=path)
    board.boot()
    assert EFuse.load(path).secure_version == 3


def test_confirming_burns_the_secure_version_where_anti_rollback_is_built_in(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "f.bin")
    for anti_rollback, burnt in ((False, 0), (True, 4)):
        made = world.board(world.app("1.0.0", secure_version=4))
        made.efuse.save(path)
        board = VirtualBoard(
            made.flash, EFuse.load(path), anti_rollback=anti_rollback, flash_path=path
        )
        board.boot()
        board.mark_app_valid_cancel_rollback()
        assert EFuse.load(path).secure_version == burnt
