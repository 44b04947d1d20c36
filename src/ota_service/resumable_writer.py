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

    def come(self):
        """What has come of a sector that is not full, a memoryview."""
        return self._view[: self._filled]

    def put_away(self):
        """What has come goes to flash, a sector that is not full as it is; nothing more is written
        through this. Returns the CRC-32 of all of it. Raises OtaError("flash-write")."""
        if not self._filled:
            return self.crc
        crc = crc32(self._view[: self._filled], self.crc)
        super()._flush()
        return crc

    def take_up(self, count):
        """The room holds so many bytes that flash holds already, the withheld ones included: a
        sector, or what was put away of one. Returns the CRC-32 of all up to there."""
        self.touched = True
        if not self.written:
            self.withheld[:] = self._view[:_WITHHELD_BYTES]
        if count < _SECTOR_BYTES:
            self._filled = count
            return crc32(self._view[:count], self.crc)
        self._block += 1
        self._count()
        return self.crc

    def _count(self):
        self.crc = crc32(self._sector, self.crc)
        self.written += _SECTOR_BYTES
