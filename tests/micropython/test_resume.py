"""An update that goes on where it was lost, on both runtimes: only where the slot still holds what
its record says, and never where the slot could boot meanwhile."""

from signed_images import STRANGER, signed_app

from esp_image import acceptance
from ota_crypto import sha256, steps
from ota_service.descriptor import read_descriptor
from ota_service.errors import OtaError, PeerError
from ota_service.resumable import ResumableSession
from ota_service.trust import find_trust_steps
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage
from virtual_esp32.flash_faults import FaultyFlash
from virtual_esp32.manufacture import flash_content

OLD = signed_app("1.0.0")
NEW = signed_app("2.0.0", size=30000)
STEP = 8192
LOST = 22000  # two records have been written, the last after two steps
KEPT = 16384
SLOT = 0x20000  # where ota_1 begins


def new_board():
    flash = FaultyFlash(MemoryStorage(flash_content(0x40000, OLD)))
    board = VirtualBoard(flash, EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6"))
    board.boot()
    board.nvs("ota")
    return board


def new_session(board, floor=0):
    running = board.running_partition()
    slot = running.get_next_update()
    expected = acceptance.Expected(
        chip_id=board.chip_id,
        running=read_descriptor(running),
        max_bytes=slot.info()[3],
        secure_version_floor=floor,
    )
    trust = steps.run(find_trust_steps(board, ()))
    session = ResumableSession(slot, expected, trust, board)
    session.step_bytes = STEP
    session.begin_attempt()
    session.connected()
    steps.run(session.resume_steps())
    return session


def receive(session, image, start=0, end=None):
    session.announced(sha256(image).digest(), start, len(image))
    feed(session, memoryview(image)[start : end or len(image)])


def feed(session, view):
    at = 0
    while at < len(view):
        room = session.room()
        count = min(len(room), len(view) - at)
        room[:count] = view[at : at + count]
        session.take(count)
        at += count


def lost_board(image=NEW, error=None):
    """A board whose update was lost after LOST bytes, and which was powered off and on since."""
    board = new_board()
    session = new_session(board)
    receive(session, image, 0, LOST)
    if error is not None:
        session.fail(error)
    board.boot()
    return board


def finish(session, board):
    session.end_of_body()
    steps.run(session.verify_steps())
    session.switch(lambda: True)
    assert board.boot().partition.label == "ota_1"
    assert board.flash.read(SLOT, len(NEW)) == NEW


def record(board):
    """The record in NVS, None without one."""
    found = bytearray(100)
    try:
        return bytes(found[: board.nvs("ota").get_blob("progress", found)])
    except OSError:
        return None


def require_started_over(board, session):
    assert session.received == 0
    assert session.digest is None
    assert record(board) is None
    receive(session, NEW)
    finish(session, board)


def test_after_a_power_cut_it_goes_on_from_the_last_record():
    board = lost_board()
    session = new_session(board)
    assert session.received == KEPT
    assert session.total == len(NEW)
    assert session.digest == sha256(NEW).digest()
    receive(session, NEW, KEPT)
    finish(session, board)
    assert record(board) is None


def test_what_was_written_after_the_record_is_erased_before_it_is_written_again():
    """The flash would say so: NOR flash only clears bits."""
    board = lost_board()
    for sector in range(KEPT // 4096, 8):
        board.flash.erase_sector(SLOT // 4096 + sector)
        board.flash.write(SLOT + sector * 4096, b"\x5a" * 4096)
    session = new_session(board)
    receive(session, NEW, KEPT)
    finish(session, board)


def test_a_slot_that_was_changed_meanwhile_is_started_over():
    for at in (16, 300, 5000, KEPT - 1):
        board = lost_board()
        byte = board.flash.read(SLOT + at, 1)[0]
        sector = bytearray(board.flash.read(SLOT + at // 4096 * 4096, 4096))
        sector[at % 4096] = byte ^ 1
        board.flash.erase_sector((SLOT + at) // 4096)
        board.flash.write(SLOT + at // 4096 * 4096, sector)
        require_started_over(board, new_session(board))


def test_a_slot_that_could_boot_is_never_written_behind_its_first_sector():
    """Its first bytes stand: an agent that sends other bytes from here on would make an image that
    the bootloader takes, unverified. Its first sector is erased first."""
    board = lost_board()
    board.flash.write(SLOT, NEW[:16])
    session = new_session(board)
    assert session.received == 0
    log = []
    board.flash.on_operation = lambda flash, what, offset, data: log.append((what, offset))
    receive(session, NEW)
    slot_operations = [entry for entry in log if entry[1] >= SLOT]
    assert slot_operations[0] == ("erase", SLOT)
    finish(session, board)


def test_a_record_that_does_not_fit_is_as_none():
    good = record(lost_board())
    assert len(good) == 61
    for changed in (
        b"",
        good[:-1],
        good + b"\0",
        b"\x02" + good[1:],
        good[:1] + b"\0\0\1\0" + good[5:],  # the slot that runs
        good[:5] + b"\0\0\0\0" + good[9:],
        good[:5] + b"\1\0\0\0" + good[9:],
        good[:5] + b"\0\0\xff\xff" + good[9:],
        good[:9] + b"\0\0\0\0" + good[13:],  # its CRC
    ):
        board = lost_board()
        board.nvs("ota").set_blob("progress", changed)
        session = new_session(board)
        assert session.received == 0, changed
        receive(session, NEW)
        finish(session, board)
        assert record(board) is None


def test_an_image_that_is_not_acceptable_any_more_is_started_over():
    board = lost_board()
    session = new_session(board, floor=1)
    assert (session.received, record(board)) == (0, None)


def test_a_board_without_nvs_starts_over():
    board = new_board()
    board.nvs = lambda namespace: None
    session = new_session(board)
    receive(session, NEW, 0, LOST)
    session = new_session(board)
    assert session.received == 0
    receive(session, NEW)
    finish(session, board)


def test_another_image_drops_the_record_before_the_slot_is_touched():
    board = lost_board()
    session = new_session(board)
    assert session.received == KEPT
    other = signed_app("3.0.0", size=30000)
    operations = board.flash.operations
    log = []
    board.flash.on_operation = lambda flash, what, offset, data: log.append(offset)
    session.announced(sha256(other).digest(), 0, len(other))
    assert board.flash.operations > operations
    assert record(board) is None
    feed(session, other)
    first = next(i for i in range(len(log)) if log[i] >= SLOT)
    assert all(offset < SLOT for offset in log[:first])
    session.end_of_body()
    steps.run(session.verify_steps())
    session.switch(lambda: True)
    assert read_descriptor(session.slot).version == "3.0.0"


def test_records_come_a_step_apart_and_none_for_a_whole_image():
    board = new_board()
    session = new_session(board)
    kept = []
    keep_record = session._keep_record

    def counting():
        kept.append(session._writer.written)
        keep_record()

    session._keep_record = counting
    receive(session, NEW)
    assert kept == list(range(STEP, len(NEW), STEP))
    assert len(NEW) % STEP == 0 or len(NEW) - kept[-1] < STEP


LOSSES = (
    (PeerError("connection-lost", ""), True),
    (PeerError("timeout", ""), True),
    (OtaError("cancelled", ""), True),
    (OtaError("deadline", ""), True),
    (OtaError("checksum", ""), False),
    (OtaError("flash-write", ""), False),
    (OtaError("internal", ""), False),
)


def test_what_can_go_on_is_kept_and_all_else_given_up():
    for error, goes_on in LOSSES:
        board = lost_board(error=error)
        assert board.flash.read(SLOT, 16) == b"\xff" * 16
        assert (record(board) is not None) == goes_on, error.code
        assert (board.flash.read(SLOT + 16, 100) == NEW[16:116]) == goes_on, error.code
        session = new_session(board)
        assert session.received == (KEPT if goes_on else 0)
        receive(session, NEW, session.received)
        finish(session, board)


def test_an_image_that_fails_verification_is_not_resumed():
    image = signed_app("2.0.0", STRANGER, size=30000)
    board = lost_board(image)
    session = new_session(board)
    receive(session, image, KEPT)
    session.end_of_body()
    try:
        steps.run(session.verify_steps())
        raise AssertionError("a stranger's image passed")
    except OtaError as error:
        assert error.code == "key-untrusted"
        session.fail(error)
    assert record(board) is None
    assert board.flash.read(SLOT, 4096) == b"\xff" * 4096
    assert board.boot().partition.label == "ota_0"
    require_started_over(board, new_session(board))


def test_an_image_that_is_not_the_one_announced_is_given_up():
    board = new_board()
    session = new_session(board)
    session.announced(bytes(32), 0, len(NEW))
    feed(session, NEW)
    try:
        session.end_of_body()
        raise AssertionError("another image was taken")
    except OtaError as error:
        assert (error.code, error.may_retry) == ("wrong-digest", False)
        session.fail(error)
    assert record(board) is None
    require_started_over(board, new_session(board))


def test_in_the_same_run_it_goes_on_at_the_very_byte():
    board = new_board()
    session = new_session(board)
    receive(session, NEW, 0, LOST)
    session.fail(PeerError("connection-lost", "lost"))
    session.begin_attempt()
    session.connected()
    steps.run(session.resume_steps())
    assert session.received == LOST
    receive(session, NEW, LOST)
    finish(session, board)


def test_steps_of_resuming_out_of_their_order_are_a_bug_of_the_caller():
    board = lost_board()
    session = new_session(board)
    receive(session, NEW, KEPT, KEPT + 100)
    for operation in (
        session.restart,
        session.up_to_date,
        lambda: session.announced(bytes(32), 0, len(NEW)),
        lambda: session.announced(bytes(32), session.received, len(NEW)),
    ):
        try:
            operation()
            raise AssertionError("taken")
        except RuntimeError:
            assert session.state == "receiving"
