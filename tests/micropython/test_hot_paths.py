"""What runs for every 4 KiB of an image allocates nothing: the heap is locked around it."""

import gc

try:
    from micropython import heap_lock, heap_unlock
except ImportError:

    def heap_lock():
        pass

    heap_unlock = heap_lock

from signed_images import OWNER, sign

from esp_image import ImageParser, acceptance
from esp_image.build import build_app
from ota_service.patience import Patience
from ota_service.resumable import ResumableSession
from ota_service.session import Session
from ota_service.slot_writer import SlotWriter
from ota_service.trust import Trust

SECTOR_BYTES = 4096
IMAGE = sign(build_app("2.0.0", "thermo", chip="esp32c6", size=60000), OWNER)


parser = ImageParser()
parser.feed(IMAGE)
SEGMENTS = parser.segments


def is_inside_a_segment(start):
    """Whether the sector at `start` is in the middle of one: no header, no end of it."""
    end = start + SECTOR_BYTES
    return any(s.offset <= start and end < s.offset + s.size for s in SEGMENTS)


class Slot:
    """A partition that takes everything and keeps nothing, without allocating."""

    def __init__(self):
        self.written = 0
        self.erased = 0

    def info(self):
        return (0, 0x11, 0x70000, 0x60000, "ota_1", False)

    def writeblocks(self, block, buffer, offset=None):
        self.written += 1

    def ioctl(self, operation, block):
        self.erased += 1


def locked(call, count=None):
    """Call with the heap locked: a MemoryError if anything is allocated."""
    heap_lock()
    try:
        if count is None:
            call()
        else:
            call(count)
    finally:
        heap_unlock()


def fill(room, start):
    room[:] = memoryview(IMAGE)[start : start + len(room)]


def test_the_lock_notices_an_allocation():
    try:
        locked(lambda: bytearray(100))
    except MemoryError:
        return
    assert not hasattr(gc, "mem_free"), "MicroPython's heap was not locked"


def test_a_sector_inside_a_segment_goes_from_the_network_to_flash_without_allocating():
    slot = Slot()
    session = Session(slot, acceptance.Expected(13, policy="any"), Trust("configuration", []))
    session.begin_attempt()
    session.connected()
    fill(session.room(), 0)
    session.take(SECTOR_BYTES)  # header, descriptor, the first erase
    patience = Patience(60)
    patience.expect("no data", 10.5)
    inside = 0
    for start in range(SECTOR_BYTES, len(IMAGE), SECTOR_BYTES):
        fill(session.room(), start)
        if is_inside_a_segment(start):
            locked(session.take, SECTOR_BYTES)
            inside += 1
        else:
            session.take(SECTOR_BYTES)
        locked(patience.renew)
    assert inside > 5
    assert (slot.written, slot.erased) == (len(IMAGE) // SECTOR_BYTES, 1)
    assert session.is_whole


def test_nor_does_a_sector_of_a_transfer_that_can_be_resumed():
    """But for what its CRC-32 takes on a 32-bit chip, 16 bytes, and for the record every 64 KiB."""
    slot = Slot()
    expected = acceptance.Expected(13, policy="any")
    session = ResumableSession(slot, expected, Trust("configuration", []), None)
    session.step_bytes = len(IMAGE)
    session.begin_attempt()
    session.connected()
    session.announced(bytes(32), 0, len(IMAGE))
    fill(session.room(), 0)
    session.take(SECTOR_BYTES)
    inside = 0
    for start in range(SECTOR_BYTES, len(IMAGE), SECTOR_BYTES):
        fill(session.room(), start)
        if is_inside_a_segment(start):
            locked(session.take, SECTOR_BYTES)
            inside += 1
        else:
            session.take(SECTOR_BYTES)
    assert inside > 5
    assert session.is_whole


def test_the_slot_writer_allocates_nothing_while_it_writes():
    slot = Slot()
    writer = SlotWriter(slot)
    writer.room()[:] = IMAGE[:SECTOR_BYTES]
    writer.advance(SECTOR_BYTES)
    for _ in range(5):
        locked(writer.room)
        locked(writer.advance, SECTOR_BYTES)
    assert slot.written == 6
