"""NOR flash, stricter than the real thing.

Reads anywhere; erases whole sectors to FF; a write only clears bits. What real flash would
silently get wrong (a 1 written over a 0) or refuse is a FlashError here. Faults, power cuts among
them, are `flash_faults`' part.
"""

from .compat import const, open_storage
from .errors import FlashError

SECTOR_BYTES = const(4096)
_WORD_BYTES = const(4)
_COMPARED_BYTES = const(256)
_ERASED = b"\xff" * 4096
_ERASED_VIEW = memoryview(_ERASED)
# What a write finds in flash is looked at here: as on the chip, a write allocates next to nothing.
_SCRATCH = bytearray(4096)
_SCRATCH_VIEW = memoryview(_SCRATCH)


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


class Snapshot:
    """The flash at one moment; it never changes, and shares what has not changed with others.

    size in bytes; operations: as counted up to then. Made by NorFlash.snapshot.
    """

    def __init__(self, base, sectors, operations, wear):
        self.size = len(base)
        self.operations = operations
        self._base = base
        self._sectors = sectors
        self._wear = wear


class _SnapshotStorage:
    """A snapshot that can be written to: each sector is copied when it is first written."""

    def __init__(self, snapshot):
        self.size = snapshot.size
        self._base = snapshot._base
        self._shared = snapshot._sectors
        self._own = {}

    def read_into(self, offset, buffer):
        size = len(buffer)
        at = offset % SECTOR_BYTES
        if at + size <= SECTOR_BYTES:
            sector = offset // SECTOR_BYTES
            content = self._own.get(sector) or self._shared.get(sector)
            if content is None:
                buffer[:] = self._base[offset : offset + size]
            else:
                buffer[:] = content[at : at + size]
            return
        view = memoryview(buffer)
        for start, end in _sector_pieces(offset, size):
            self.read_into(offset + start, view[start:end])

    def peek(self, offset, size):
        """Bytes at an offset, copied where there is no other way."""
        at = offset % SECTOR_BYTES
        if at + size <= SECTOR_BYTES:
            sector = offset // SECTOR_BYTES
            content = self._own.get(sector) or self._shared.get(sector)
            if content is None:
                return self._base[offset : offset + size]
            return content[at : at + size]
        buffer = bytearray(size)
        self.read_into(offset, buffer)
        return buffer

    def write(self, offset, data):
        if len(data) == SECTOR_BYTES and offset % SECTOR_BYTES == 0:
            self._own[offset // SECTOR_BYTES] = bytes(data)  # no copy of what is bytes already
            return
        for start, end in _sector_pieces(offset, len(data)):
            sector = (offset + start) // SECTOR_BYTES
            at = (offset + start) % SECTOR_BYTES
            content = self._own.get(sector)
            if not isinstance(content, bytearray):
                content = bytearray(self.peek(sector * SECTOR_BYTES, SECTOR_BYTES))
                self._own[sector] = content
            content[at : at + end - start] = data[start:end]

    def close(self):
        pass


class NorFlash:
    """Flash of `size` bytes over a storage; counts operations and erases per sector.

    operations: erases and writes so far, the unit of the power-cut proof.
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
        self._wear = {}
        self._snapshot = None
        self._changed = set()
        # peek(offset, size): the bytes there, unchecked and uncounted, of a flash from a snapshot
        self.peek = None
        # recall(name, function): what the function returns, which only reads; by a flash that has
        # seen it read the same before, from memory
        self.recall = None

    @classmethod
    def open(cls, path):
        """The flash file at `path`. Raises OSError, FlashError."""
        return cls(open_storage(path))

    @classmethod
    def from_snapshot(cls, snapshot):
        """A flash of its own, in memory, as it was at the snapshot, counters included.

        Costs the same for any size of flash; a sector is copied when it is first written.
        """
        flash = cls(_SnapshotStorage(snapshot))
        flash.operations = snapshot.operations
        flash._wear = dict(snapshot._wear)
        flash._snapshot = snapshot
        flash.peek = flash._storage.peek
        return flash

    def snapshot(self):
        """The flash as it is now, as a Snapshot.

        The first one of a flash copies it whole, unless it was made from a snapshot; later ones
        copy the sectors changed since the last.
        """
        last = self._snapshot
        if last is None:
            base, sectors = bytes(self.read(0, self.size)), {}
        else:
            base, sectors = last._base, dict(last._sectors)
            look = self.peek or self.read
            for sector in self._changed:
                sectors[sector] = bytes(look(sector * SECTOR_BYTES, SECTOR_BYTES))
        self._changed = set()
        self._snapshot = Snapshot(base, sectors, self.operations, dict(self._wear))
        return self._snapshot

    @property
    def erase_counts(self):
        """Erases per sector (wear), a list."""
        return [self._wear.get(sector, 0) for sector in range(self.size // SECTOR_BYTES)]

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
        self._count_erase(sector)
        self._put(sector * SECTOR_BYTES, _ERASED)

    def write(self, offset, data):
        """Clear bits: offset and length in whole 4-byte words, no bit from 0 to 1."""
        self._check_write(offset, data)
        self.operations += 1
        self._put(offset, data)

    def close(self):
        self._storage.close()

    def _count_erase(self, sector):
        self.operations += 1
        self._wear[sector] = self._wear.get(sector, 0) + 1

    def _put(self, offset, data):
        """Change the content, by whatever right."""
        size = len(data)
        for sector in range(offset // SECTOR_BYTES, (offset + size - 1) // SECTOR_BYTES + 1):
            self._changed.add(sector)
        self._storage.write(offset, data)

    def _check_range(self, what, offset, size):
        if offset < 0 or offset + size > self.size:
            raise FlashError(
                "%s of %d bytes at 0x%x: flash ends at 0x%x" % (what, size, offset, self.size)
            )

    def _check_write(self, offset, data):
        size = len(data)
        self._check_range("write", offset, size)
        if offset % _WORD_BYTES or size % _WORD_BYTES:
            raise FlashError("write of %d bytes at 0x%x: not whole words" % (size, offset))
        if self.peek is not None and size == SECTOR_BYTES and self.peek(offset, size) == _ERASED:
            return
        view = memoryview(data)
        for start, end in _sector_pieces(offset, size):
            old = _SCRATCH_VIEW[: end - start]
            self._storage.read_into(offset + start, old)
            if not (_is_erased(old) or _only_clears(old, view[start:end])):
                raise FlashError("write at 0x%x sets bits that are 0: erase first" % offset)


def _is_erased(old):
    """Whether the first bytes of the scratch are FF; `old` is a view of them."""
    if len(old) == SECTOR_BYTES:
        return _SCRATCH == _ERASED
    return old == _ERASED_VIEW[: len(old)]


def _only_clears(old, new):
    """Whether no bit is 1 in `new` that is 0 in `old`."""
    for start in range(0, len(old), _COMPARED_BYTES):
        new_bits = int.from_bytes(new[start : start + _COMPARED_BYTES], "big")
        if int.from_bytes(old[start : start + _COMPARED_BYTES], "big") & new_bits != new_bits:
            return False
    return True


def _sector_pieces(offset, size):
    """(start, end) within the `size` bytes at `offset`, cut at the ends of sectors."""
    if offset % SECTOR_BYTES + size <= SECTOR_BYTES:
        return ((0, size),)
    pieces = []
    start = 0
    while start < size:
        end = min(size, start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
        pieces.append((start, end))
        start = end
    return pieces
