"""What keeps a session's place in protocol 2 until the board has proven itself; both runtimes."""

from signed_images import signed_app

from esp_image import acceptance
from ota_crypto import sha256, steps
from ota_service.errors import PeerError
from ota_service.pending import PendingSession
from ota_service.trust import Trust
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

OLD = signed_app("1.0.0")
NEW = signed_app("2.0.0")


def new_pending():
    flash = NorFlash(MemoryStorage(flash_content(0x40000, OLD)))
    board = VirtualBoard(flash, EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6"))
    board.boot()
    slot = board.running_partition().get_next_update()
    expected = acceptance.Expected(chip_id=board.chip_id, max_bytes=slot.info()[3])
    return board, PendingSession(board, slot, expected, Trust("configuration", [bytes(32)]))


def shown(session):
    """What GET /update tells of a session."""
    return session.state, session.attempt, session.received, session.total, session.slot_label


def test_its_steps_are_those_of_a_session():
    _, pending = new_pending()
    assert shown(pending) == ("idle", 0, 0, None, "ota_1")
    pending.begin_attempt()
    assert shown(pending) == ("connecting", 1, 0, None, "ota_1")
    pending.connected()
    assert shown(pending) == ("attesting", 1, 0, None, "ota_1")
    pending.fail(PeerError("agent-busy", "later"))
    assert shown(pending) == ("failed", 1, 0, None, "ota_1")
    pending.begin_attempt()
    assert shown(pending) == ("connecting", 2, 0, None, "ota_1")


def test_a_step_out_of_order_is_a_bug_of_the_caller():
    _, pending = new_pending()
    for operation in (
        pending.connected,
        lambda: (pending.begin_attempt(), pending.begin_attempt()),
    ):
        try:
            operation()
            raise AssertionError("not refused")
        except RuntimeError:
            pass


def test_the_session_goes_on_from_there_and_the_place_is_kept_again_if_nothing_came():
    board, pending = new_pending()
    pending.begin_attempt()
    pending.connected()
    pending.cancelled = True
    session = pending.session()
    assert shown(session) == shown(pending) and session.cancelled
    session.cancelled = False
    session.make_room()
    session.fail(PeerError("agent-busy", "later"))
    again = session.pending(board)
    assert shown(again) == ("failed", 1, 0, None, "ota_1") and not again.cancelled
    again.begin_attempt()
    again.connected()
    session = again.session()
    session.make_room()
    session.announced(sha256(NEW).digest(), 0, len(NEW))
    session.room()[:100] = NEW[:100]
    session.take(100)
    assert shown(session)[:3] == ("receiving", 2, 100)


def receive(session, start, end):
    session.announced(sha256(NEW).digest(), start, len(NEW))
    while start < end:
        room = session.room()
        count = min(len(room), end - start)
        room[:count] = NEW[start : start + count]
        session.take(count)
        start += count


def lost_session(board, pending, end):
    """A session that has lost its connection after `end` bytes, and what keeps its place then."""
    pending.begin_attempt()
    pending.connected()
    session = pending.session()
    session.make_room()
    receive(session, 0, end)
    session.fail(PeerError("connection-lost", "lost"))
    return session, session.pending(board)


def resumed(pending):
    pending.begin_attempt()
    pending.connected()
    session = pending.session()
    steps.run(session.resume_steps())
    return session


def test_what_has_come_is_taken_up_at_the_very_byte_and_not_held_meanwhile():
    """Before the image is judged, within the first sector, at a sector's end, and behind it."""
    for end in (1, 287, 288, 3000, 4096, 4097, 8192, len(NEW) - 1):
        board, pending = new_pending()
        session, again = lost_session(board, pending, end)
        assert session._parser is session._writer is None
        assert shown(again)[2] == end
        assert board.flash.read(0x20000, 16) == b"\xff" * 16
        # Nothing is forgotten by an attempt in which the board was not accepted.
        again.begin_attempt()
        again.connected()
        session = again.session()
        session.make_room()
        session.fail(PeerError("agent-busy", "later"))
        session = resumed(session.pending(board))
        assert (session.received, session.digest) == (end, sha256(NEW).digest()), end
        receive(session, end, len(NEW))
        session.end_of_body()
        assert board.flash.read(0x20010, len(NEW) - 16) == NEW[16:]
        assert board.flash.read(0x20000, 16) == b"\xff" * 16


def test_what_was_changed_meanwhile_in_the_slot_is_not_taken_up():
    for end, at in ((3000, 16), (3000, 2999), (5000, 4096), (5000, 4999)):
        board, pending = new_pending()
        _, again = lost_session(board, pending, end)
        sector = bytearray(board.flash.read(0x20000 + at // 4096 * 4096, 4096))
        sector[at % 4096] ^= 1
        board.flash.erase_sector((0x20000 + at) // 4096)
        board.flash.write(0x20000 + at // 4096 * 4096, sector)
        session = resumed(again)
        assert (session.received, session.digest) == (0, None), (end, at)
