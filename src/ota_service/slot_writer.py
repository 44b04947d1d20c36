"""Writes an image into the spare slot, sector by sector, its first 16 bytes withheld.

The first sector is erased before anything is written and keeps FF where the image's magic
belongs until `release`: no path of the bootloader can boot a slot in between (boot.md).
"""

from .compat import const
from .errors import OtaError

SECTOR_BYTES = const(4096)
WITHHELD_BYTES = const(16)
_IOCTL_BLOCK_ERASE = const(6)


class SlotWriter:
    """Fills a partition (block-device protocol, 4096-byte blocks) from its start.

    Allocates one sector buffer when made, and nothing while it writes.
    """

    def __init__(self, partition):
        self._partition = partition
        self._sector = bytearray(SECTOR_BYTES)
        self._view = memoryview(self._sector)
        self._filled = 0
        self._block = 0
        self.withheld = bytearray(WITHHELD_BYTES)
        self.touched = False

    def write(self, data):
        """Take the next bytes; flash is written whenever a sector is full.

        Raises OtaError("flash-write").
        """
        taken = 0
        while taken < len(data):
            count = min(len(data) - taken, SECTOR_BYTES - self._filled)
            self._view[self._filled : self._filled + count] = data[taken : taken + count]
            self._filled += count
            taken += count
            if self._filled == SECTOR_BYTES:
                self._flush()

    def finish(self):
        """Write the last, partly filled sector, padded with FF."""
        if self._filled:
            for i in range(self._filled, SECTOR_BYTES):
                self._sector[i] = 0xFF
            self._flush()

    def release(self):
        """Write the withheld bytes: from here on the slot can boot. They are read back."""
        self._checked(lambda: self._partition.writeblocks(0, self.withheld, 0))
        found = bytearray(WITHHELD_BYTES)
        self._partition.readblocks(0, found, 0)
        if found != self.withheld:
            raise OtaError("flash-write", "the image's first 16 bytes did not take")

    def discard(self):
        """Make the slot unbootable again, if it was touched at all."""
        if self.touched:
            self._checked(lambda: self._partition.ioctl(_IOCTL_BLOCK_ERASE, 0))

    def _flush(self):
        self._checked(self._write_sector)
        self._block += 1
        self._filled = 0

    def _write_sector(self):
        self.touched = True
        if self._block:
            self._partition.writeblocks(self._block, self._sector)
            return
        self.withheld[:] = self._view[:WITHHELD_BYTES]
        self._partition.ioctl(_IOCTL_BLOCK_ERASE, 0)
        self._partition.writeblocks(0, self._view[WITHHELD_BYTES:], WITHHELD_BYTES)

    def _checked(self, operation):
        try:
            operation()
        except OSError as error:
            raise OtaError("flash-write", "flash refused block %d: %s" % (self._block, error))
