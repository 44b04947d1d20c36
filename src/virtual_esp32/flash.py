"""NOR flash, stricter than the real thing.

Reads anywhere; erases whole sectors to FF; a write only clears bits. What real flash would
silently get wrong (a 1 written over a 0) or refuse is a FlashError here.
"""

from .compat import const, open_storage
from .errors import FlashError

SECTOR_BYTES = const(4096)
_WORD_BYTES = const(4)
_PIECE_BYTES = const(512)


class MemoryStorage:
    """Flash content in memory, FF when new; the same interface as a flash file's storage."""

    def __init__(self, content):
        self.content = bytearray(content)
        self.size = len(self.content)

    def read_into(self, offset, buffer):
        buffer[:] = self.content[offset : offset + len(buffer)]

    def write(self, offset, data):
        self.content[offset : offset + len(data)] = data

    def close(self):
        pass


class NorFlash:
    """Flash of `size` bytes over a storage; counts operations and erases per sector.

    operations: erases and writes so far, the unit of the power-cut proof.
    erase_counts: erases per sector (wear).
    """

    def __init__(self, storage):
        if storage.size == 0 or storage.size % SECTOR_BYTES:
            raise FlashError(
                "flash of %d bytes: expected a whole number of %d-byte sectors"
                % (storage.size, SECTOR_BYTES)
            )
        self._storage = storage
        self.size = storage.size
        self.operations = 0
        self.erase_counts = [0] * (self.size // SECTOR_BYTES)
        self._piece = bytearray(_PIECE_BYTES)

    @classmethod
    def open(cls, path):
        """The flash file at `path`. Raises OSError, FlashError."""
        return cls(open_storage(path))

    def read_into(self, offset, buffer):
        """Fill `buffer` from `offset` on."""
        self._check_range("read", offset, len(buffer))
        self._storage.read_into(offset, buffer)

    def read(self, offset, size):
        """`size` bytes from `offset` on; allocates them."""
        buffer = bytearray(size)
        self.read_into(offset, buffer)
        return buffer

    def erase_sector(self, sector):
        """Set the 4096 bytes of a sector to FF."""
        self._check_range("erase", sector * SECTOR_BYTES, SECTOR_BYTES)
        self.operations += 1
        self.erase_counts[sector] += 1
        self._storage.write(sector * SECTOR_BYTES, b"\xff" * SECTOR_BYTES)

    def write(self, offset, data):
        """Clear bits: offset and length in whole 4-byte words, no bit from 0 to 1."""
        self._check_range("write", offset, len(data))
        if offset % _WORD_BYTES or len(data) % _WORD_BYTES:
            raise FlashError("write of %d bytes at 0x%x: not whole words" % (len(data), offset))
        self._check_only_clears(offset, data)
        self.operations += 1
        self._storage.write(offset, data)

    def close(self):
        self._storage.close()

    def _check_range(self, what, offset, size):
        if offset < 0 or offset + size > self.size:
            raise FlashError(
                "%s of %d bytes at 0x%x: flash ends at 0x%x" % (what, size, offset, self.size)
            )

    def _check_only_clears(self, offset, data):
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            new = view[start : start + _PIECE_BYTES]
            old = memoryview(self._piece)[: len(new)]
            self._storage.read_into(offset + start, old)
            new_bits = int.from_bytes(new, "big")
            if int.from_bytes(old, "big") & new_bits != new_bits:
                raise FlashError("write at 0x%x sets bits that are 0: erase first" % offset)
