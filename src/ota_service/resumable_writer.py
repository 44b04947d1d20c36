"""The writer of a session that can be resumed. Not loaded before there is something to write: the
proof that comes first needs the memory.
"""

from binascii import crc32

from .compat import const
from .slot_writer import SlotWriter

_SECTOR_BYTES = const(4096)
_WITHHELD_BYTES = const(16)


class ResumableWriter(SlotWriter):
    """Also counts: written, bytes that are in flash, whole sectors; crc, their CRC-32, the withheld
    ones included."""

    def __init__(self, partition):
        super().__init__(partition)
        self.written = self.crc = 0

    def _flush(self):
        super()._flush()
        self._count()

    def count_as_written(self):
        """The room holds a whole sector that flash holds already, its withheld bytes included."""
        self.touched = True
        if not self.written:
            self.withheld[:] = self._view[:_WITHHELD_BYTES]
        self._block += 1
        self._count()

    def _count(self):
        self.crc = crc32(self._sector, self.crc)
        self.written += _SECTOR_BYTES
