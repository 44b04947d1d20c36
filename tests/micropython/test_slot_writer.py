"""The slot writer keeps the image's first 16 bytes back until it is told, on both runtimes."""

from ota_service.errors import OtaError
from ota_service.slot_writer import SlotWriter


class Partition:
    """A block device of three sectors that records what was done to it."""

    def __init__(self):
        self.content = bytearray(b"\x00" * 12288)
        self.log = []
        self.fails_at = None
        self.loses_writes = False

    def ioctl(self, operation, block):
        assert operation == 6
        self.log.append(("erase", block))
        self.content[block * 4096 : block * 4096 + 4096] = b"\xff" * 4096

    def writeblocks(self, block, data, offset=None):
        if self.fails_at == block:
            raise OSError(-1, "flash")
        self.log.append(("write", block, offset, len(data)))
        if self.loses_writes:
            return
        start = block * 4096 + (offset or 0)
        self.content[start : start + len(data)] = data

    def readblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        buffer[:] = self.content[start : start + len(buffer)]


IMAGE = bytes(range(256)) * 32


def fill(writer, data):
    """Put the bytes where the writer wants them, as the session does."""
    at = 0
    while at < len(data):
        room = writer.room()
        count = min(len(room), len(data) - at)
        room[:count] = data[at : at + count]
        writer.advance(count)
        at += count


def test_until_release_the_first_16_bytes_are_erased_flash():
    partition = Partition()
    writer = SlotWriter(partition)
    for start in range(0, len(IMAGE), 1000):
        fill(writer, memoryview(IMAGE)[start : start + 1000])
    writer.finish()
    assert partition.log[0] == ("erase", 0)
    assert partition.content[:16] == b"\xff" * 16
    assert partition.content[16:8192] == IMAGE[16:]
    writer.release()
    assert partition.content[:8192] == IMAGE


def test_a_last_sector_that_is_not_full_is_padded_with_ff():
    partition = Partition()
    writer = SlotWriter(partition)
    fill(writer, IMAGE[:5000])
    writer.finish()
    writer.release()
    assert partition.content[:5000] == IMAGE[:5000]
    assert partition.content[5000:8192] == b"\xff" * 3192


def test_nothing_is_touched_before_the_first_sector_is_full():
    partition = Partition()
    writer = SlotWriter(partition)
    fill(writer, IMAGE[:4095])
    writer.discard()
    assert partition.log == []


def test_discard_makes_the_slot_unbootable_again():
    partition = Partition()
    writer = SlotWriter(partition)
    fill(writer, IMAGE)
    writer.release()
    writer.discard()
    assert partition.content[:4096] == b"\xff" * 4096


def test_a_write_that_fails_or_does_not_take_is_an_error_with_a_code():
    partition = Partition()
    writer = SlotWriter(partition)
    partition.fails_at = 1
    try:
        fill(writer, IMAGE)
        raise AssertionError("a failed write was not seen")
    except OtaError as error:
        assert error.code == "flash-write"
    partition = Partition()
    writer = SlotWriter(partition)
    fill(writer, IMAGE)
    partition.loses_writes = True
    try:
        writer.release()
        raise AssertionError("a lost write was not seen")
    except OtaError as error:
        assert error.code == "flash-write"
