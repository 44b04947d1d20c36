"""The update session on a virtual board without a network, on both runtimes: fed with chunks, it
writes, verifies, switches; the bootloader does the rest."""

from signed_images import STRANGER, signed_app

from esp_image import acceptance
from ota_service import confirmation
from ota_service.descriptor import read_descriptor
from ota_service.errors import OtaError
from ota_service.session import Session
from ota_service.trust import Trust, find_trust_steps
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

OLD = signed_app("1.0.0")
NEW = signed_app("2.0.0")


def new_board():
    flash = NorFlash(MemoryStorage(flash_content(0x40000, OLD)))
    board = VirtualBoard(flash, EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6"))
    board.boot()
    return board


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def session_of(board):
    running = board.running_partition()
    slot = running.get_next_update()
    expected = acceptance.Expected(
        chip_id=board.chip_id, running=read_descriptor(running), max_bytes=slot.info()[3]
    )
    session = Session(slot, expected, finish(find_trust_steps(board, ())))
    session.begin_attempt()
    session.connected()
    return session


def feed(session, chunk):
    """The bytes as the network side hands them over."""
    at = 0
    while at < len(chunk):
        room = session.room()
        count = min(len(room), len(chunk) - at)
        room[:count] = chunk[at : at + count]
        session.take(count)
        at += count


def receive(session, image, piece=1000):
    view = memoryview(image)
    for start in range(0, len(image), piece):
        feed(session, view[start : start + piece])
    assert session.is_whole
    assert session.received == session.total == len(image)


def code_of(operation, *arguments):
    try:
        operation(*arguments)
    except OtaError as error:
        return error.code
    raise AssertionError("not refused")


def test_a_whole_update_ends_in_confirmed_new_firmware():
    board = new_board()
    session = session_of(board)
    receive(session, NEW)
    assert session.state == "receiving"
    finish(session.verify_steps())
    session.switch(lambda: True)
    assert session.state == "rebooting"
    assert board.boot().partition.label == "ota_1"
    assert confirmation.is_pending(board)
    board.mark_app_valid_cancel_rollback()
    assert not confirmation.is_pending(board)
    assert board.boot().partition.label == "ota_1"
    assert read_descriptor(board.running_partition()).version == "2.0.0"


def test_until_it_is_verified_no_path_of_the_bootloader_boots_the_image():
    board = new_board()
    session = session_of(board)
    receive(session, NEW, 4096)
    # Worst case: otadata gone and the old image too, so that every slot is tried.
    snapshot = NorFlash(MemoryStorage(board.flash.read(0, board.flash.size)))
    for sector in (0xD, 0xE, 0x10):
        snapshot.erase_sector(sector)
    looked_at = VirtualBoard(snapshot, board.efuse)
    try:
        looked_at.boot()
        raise AssertionError("an unverified image booted")
    except Exception as error:
        assert "no bootable image" in str(error), error


def test_a_strangers_image_fails_at_verification_and_can_never_boot():
    board = new_board()
    session = session_of(board)
    receive(session, signed_app("2.0.0", STRANGER))
    assert code_of(finish, session.verify_steps()) == "key-untrusted"
    session.fail(OtaError("key-untrusted", "a stranger's"))
    assert session.state == "failed"
    assert board.flash.read(0x10000 + session._slot_bytes, 4096) == b"\xff" * 4096
    assert board.boot().partition.label == "ota_0"


def test_a_failed_attempt_can_be_followed_by_a_good_one():
    board = new_board()
    session = session_of(board)
    feed(session, NEW[:5000])
    assert code_of(session.end_of_stream) == "truncated"
    session.fail(OtaError("truncated", "cut"))
    session.begin_attempt()
    session.connected()
    receive(session, NEW, 7)
    finish(session.verify_steps())
    session.switch(lambda: True)
    assert session.attempt == 2
    assert board.boot().partition.label == "ota_1"


def test_no_firmware_at_all_is_a_refusal_by_the_agent():
    assert code_of(session_of(new_board()).end_of_stream) == "attestation-refused"


def test_steps_out_of_their_order_are_a_bug_of_the_caller():
    board = new_board()
    session = session_of(board)
    operations = board.flash.operations
    verify = session.verify_steps
    for operation in (
        session.begin_attempt,
        session.connected,
        lambda: session.switch(lambda: True),
        lambda: finish(verify()),
    ):
        state = session.state
        try:
            operation()
            raise AssertionError("%s in state %s" % (operation, state))
        except RuntimeError:
            assert session.state == state
    assert board.flash.operations == operations


def test_efuse_keys_count_before_all_others():
    board = new_board()
    own = finish(find_trust_steps(board, ()))
    assert (own.source, own.only_first_block) == ("running image", True)
    configured = finish(find_trust_steps(board, [b"\x01" * 32]))
    assert (configured.source, configured.digests) == ("configuration", [b"\x01" * 32])
    board.efuse.secure_boot = 2
    board.efuse.key_digests = [b"\x02" * 32]
    board.efuse.revoked = [False]
    fused = finish(find_trust_steps(board, [b"\x01" * 32]))
    assert (fused.source, fused.digests) == ("efuse", [b"\x02" * 32])
    assert isinstance(fused, Trust)
