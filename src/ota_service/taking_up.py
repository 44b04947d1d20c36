"""What an earlier attempt, or an earlier run, has left in the slot, taken up. Loaded where there is
something, and gone when it has been read.
"""

from .compat import const
from .errors import OtaError

_SECTOR_BYTES = const(4096)
_WITHHELD_BYTES = const(16)


def take_up_steps(part, writer, read, feed):
    """Whether it is what the part, a pending.Part or a progress.Progress, says; yields between
    sectors. Raises OSError, OtaError.

    writer: an untouched resumable_writer.ResumableWriter. read(offset, buffer): fills the buffer
    from the slot. feed(piece): parses the image's next bytes.
    """
    if part.head:
        room = writer.room()[: len(part.head)]
        room[:] = part.head
        feed(room)
        writer.advance(len(part.head))
        return True
    crc = 0
    left = part.kept
    while left:
        room = writer.room()
        read(writer.written, room)
        if not writer.written:
            _put_withheld(room, part.withheld)
        count = min(left, _SECTOR_BYTES)
        feed(room if count == _SECTOR_BYTES else room[:count])
        crc = writer.take_up(count)
        left -= count
        yield
    return crc == part.crc


def _put_withheld(room, withheld):
    """Where they stand already the slot can boot: no sector of it may change before its first is
    erased, which is what starting over does first."""
    if room[:_WITHHELD_BYTES] != b"\xff" * _WITHHELD_BYTES:
        raise OtaError("flash-mismatch", "the slot holds the image's first bytes")
    room[:_WITHHELD_BYTES] = withheld
