"""Boot confirmation on a virtual board, on both runtimes: who stays, who goes back, and why."""

import asyncio

from signed_images import signed_app

from ota_service import OtaService, confirmation, self_test
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

OLD = signed_app("1.0.0")
NEW = signed_app("2.0.0", secure_version=3)
NEWER = signed_app("3.0.0", secure_version=3)


def updated_board():
    """A board that has NEW in its spare slot, booted into it for the first time."""
    flash = NorFlash(MemoryStorage(flash_content(0x40000, OLD)))
    board = VirtualBoard(flash, EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6"))
    board.boot()
    install(board)
    return board


def install(board, image=NEW):
    slot = board.running_partition().get_next_update()
    for block in range(len(image) // 4096):
        slot.writeblocks(block, image[block * 4096 : block * 4096 + 4096])
    slot.set_boot()
    assert board.boot().partition.label == "ota_1"


def confirm(board, test=None, deadline_s=5, events=None):
    def hear(name, detail):
        if events is not None:
            events.append((name, detail))

    return asyncio.run(confirmation.confirm(board, test, deadline_s, hear))


async def says_no():
    return False


async def raises():
    raise ValueError("no sensor")


async def hangs():
    await asyncio.sleep(60)


async def says_nothing():
    pass


def test_what_runs_already_has_nothing_to_confirm():
    board = updated_board()
    assert confirmation.is_pending(board)
    assert confirm(board, says_nothing) == "confirmed"
    assert not confirmation.is_pending(board)
    assert confirm(board, says_no) == "valid"
    assert board.boot().partition.label == "ota_1"


def test_each_way_to_fail_goes_back_and_is_told_by_the_old_firmware():
    for test, deadline_s, reason in (
        (says_no, 5, "its self-test failed"),
        (raises, 5, "its self-test ended with an exception"),
        (hangs, 0.05, "its self-test was not over in time"),
    ):
        board = updated_board()
        events = []
        assert confirm(board, test, deadline_s, events) == "rolled-back"
        assert events[0][0] == "rolled-back"
        assert board.reset_requested
        assert board.boot().partition.label == "ota_0"
        error = OtaService(board).status()["error"]
        assert error["code"] == "rolled-back"
        assert error["message"].endswith(reason), error


def test_a_reset_before_confirmation_is_told_apart():
    board = updated_board()
    assert board.boot().partition.label == "ota_0"
    assert confirmation.rollback_reason(board) == "it was reset before it had confirmed itself"


def test_a_reason_is_that_of_its_own_image():
    board = updated_board()
    confirm(board, says_no)
    board.boot()
    install(board, NEWER)
    board.boot()  # this one crashed
    assert confirmation.rollback_reason(board) == "it was reset before it had confirmed itself"
    install(board)
    assert confirm(board) == "confirmed"
    assert confirmation.rollback_reason(board) is None


def test_the_secure_version_floor_rises_with_confirmation_and_not_before():
    board = updated_board()
    assert board.nvs("ota") is not None
    events = []
    confirm(board, says_no, 5, events)
    board.boot()
    try:
        board.nvs("ota").get_i32("secure_version")
        raise AssertionError("raised by firmware that went back")
    except OSError:
        pass
    install(board)
    assert confirm(board) == "confirmed"
    assert board.nvs("ota").get_i32("secure_version") == 3


def test_a_floor_that_power_cut_off_is_raised_at_the_next_boot():
    board = updated_board()
    board.mark_app_valid_cancel_rollback()
    board.boot()
    assert confirm(board) == "valid"
    assert board.nvs("ota").get_i32("secure_version") == 3


def test_the_ready_self_test_waits_for_network_and_endpoints_until_its_deadline():
    for network_up in (False, True):
        board = updated_board()
        board.network_up = network_up
        assert confirm(board, self_test.standard(board, port=9), 0.3) == "rolled-back"
        board.boot()
        assert confirmation.rollback_reason(board) == "its self-test was not over in time"


def test_a_board_that_cannot_write_nvs_confirms_all_the_same():
    board = updated_board()

    def broken(namespace):
        raise OSError(-0x1101)

    board.nvs = broken
    events = []
    assert confirm(board, None, 5, events) == "confirmed"
    assert [name for name, _ in events] == ["warning", "confirmed"]


def test_a_hook_that_raises_keeps_no_firmware_that_failed():
    def broken(name, detail):
        raise ValueError("the application's own bug")

    board = updated_board()
    outcome = asyncio.run(confirmation.confirm(board, says_no, 5, broken))
    assert outcome == "rolled-back"
    assert board.reset_requested
    assert board.boot().partition.label == "ota_0"
