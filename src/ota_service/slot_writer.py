"""Writes an image into the spare slot, sector by sector, its first 16 bytes withheld.

The first sector is erased before anything is written and keeps FF where the image's magic
belongs until `release`: no path of the bootloader can boot a slot in between (boot.md).
"""

from .compat import const
from .errors import OtaError

_SECTOR_BYTES = const(4096)
_WITHHELD_BYTES = const(16)
_IOCTL_BLOCK_ERASE = const(6)
_ERASED = b"\xff" * 64


class SlotWriter:
    """Fills a partition (block-device protocol, 4096-byte blocks) from its start.

    Whoever receives the image puts its bytes into `room()`, and says with `advance` how many they
    are: one buffer of 4096 bytes, allocated here, is all there is between network and flash.
    """

    def __init__(self, partition):
        self._partition = partition
        self._sector = bytearray(_SECTOR_BYTES)
        self._view = memoryview(self._sector)
        self._filled = 0
        self._block = 0
        self.withheld = bytearray(_WITHHELD_BYTES)
        self.touched = False

    def room(self):
        """Where the next bytes go: a memoryview of 1..4096 bytes. Allocates a view unless it is
        the whole sector."""
        return self._view[self._filled :] if self._filled else self._view

    def advance(self, count):
        """`count` bytes of the room are filled; flash is written whenever the sector is full.

        Does not allocate. Raises OtaError("flash-write").
        """
        self._filled += count
        if self._filled == _SECTOR_BYTES:
            self._flush()

    def finish(self):
        """Write the last, partly filled sector, padded with FF."""
        if not self._filled:
            return
        while self._filled < _SECTOR_BYTES:
            count = min(len(_ERASED), _SECTOR_BYTES - self._filled)
            self._view[self._filled : self._filled + count] = _ERASED[:count]
            self._filled += count
        self._flush()

    def take_buffer(self):
        """The sector buffer, for reading back: what it held has been written. It is the caller's,
        nothing more is written through it."""
        view = self._view
        self._sector = self._view = None
        return view

    def release(self):
        """Write the withheld bytes: from here on the slot can boot. They are read back."""
        try:
            self._partition.writeblocks(0, self.withheld, 0)
            found = bytearray(_WITHHELD_BYTES)
            self._partition.readblocks(0, found, 0)
        except OSError as error:
            raise self._refused(error)
        if found != self.withheld:
            raise OtaError("flash-write", "the image's first 16 bytes did not take")

    def discard(self):
        """Make the slot unbootable again, if it was touched at all. Raises OSError."""
        if self.touched:
            self._partition.ioctl(_IOCTL_BLOCK_ERASE, 0)

    def _flush(self):
        self.touched = True
        try:
            if self._block:
                self._partition.writeblocks(self._block, self._sector)
            else:
                self._write_first()
        except OSError as error:
            raise self._refused(error)
        self._block += 1
        self._filled = 0

    def _write_first(self):
        self.withheld[:] = self._view[:_WITHHELD_BYTES]
        self._partition.ioctl(_IOCTL_BLOCK_ERASE, 0)
        self._partition.writeblocks(0, self._view[_WITHHELD_BYTES:], _WITHHELD_BYTES)

    def _refused(self, error):
        return OtaError("flash-write", "flash refused block %d: %s" % (self._block, error))
