"""One NVS page on a block device: load and mend it, append items, mark items erased.

Left to nvs_storage: which page is written next and what items mean together. Every write keeps to
NOR's rule (bits are only cleared) and to ESP-IDF's order: an entry first, then its state, so that
power lost in between leaves an entry that does not count.

Source: ESP-IDF components/nvs_flash/src/nvs_page.cpp.
"""

from . import nvs_errors
from .compat import const
from .nvs_layout import (
    ENTRIES,
    ENTRIES_OFFSET,
    ENTRY_BYTES,
    ENTRY_EMPTY,
    ENTRY_ERASED,
    ENTRY_WRITTEN,
    HEADER_BYTES,
    PAGE_ACTIVE,
    PAGE_BYTES,
    PAGE_CORRUPT,
    PAGE_EMPTY,
    STATES_BYTES,
    STATES_OFFSET,
    Item,
    entry_is_intact,
    padded,
    page_header,
    parse_page_header,
    payload_checksum,
)

_IOCTL_BLOCK_ERASE = const(6)
_ENTRIES_PER_WORD = const(16)
_BLANK_ENTRY = b"\xff" * ENTRY_BYTES


class Page:
    """The page in one block of `device`.

    state: PAGE_EMPTY, ACTIVE, FULL, FREEING, or CORRUPT (holds nothing, has to be erased).
    sequence: number that orders pages. items: its valid items, oldest first. used: entries they
    and other written entries take. writable: False keeps every mending in memory.
    """

    def __init__(self, device, block, writable):
        self._device = device
        self._block = block
        self._writable = writable
        self._states = bytearray(STATES_BYTES)
        self._forget()

    def _forget(self):
        self.state = PAGE_EMPTY
        self.sequence = 0
        self.items = []
        self._next_free = 0
        self._states[:] = b"\xff" * STATES_BYTES

    @property
    def used(self):
        """Written entries, 0..126."""
        return sum(1 for i in range(ENTRIES) if self._entry_state(i) == ENTRY_WRITTEN)

    @property
    def room(self):
        """Entries that can still be written, 0..126."""
        return ENTRIES - self._next_free if self.state in (PAGE_ACTIVE, PAGE_EMPTY) else 0

    def load(self, buffer):
        """Read the page; what a power cut left half done is marked erased.

        buffer: 4096 bytes to work in. Raises OSError (-0x1110) if a newer ESP-IDF wrote it.
        """
        self._forget()
        self._device.readblocks(self._block, buffer)
        if buffer == b"\xff" * PAGE_BYTES:
            return
        self.state, self.sequence, readable = parse_page_header(bytes(buffer[:HEADER_BYTES]))
        if not readable:
            raise nvs_errors.nvs_error(nvs_errors.NEW_VERSION_FOUND)
        if self.state == PAGE_CORRUPT:
            return
        self._states[:] = buffer[STATES_OFFSET : STATES_OFFSET + STATES_BYTES]
        self._next_free = self._end_of_entries(buffer) if self.state == PAGE_ACTIVE else ENTRIES
        self._load_items(buffer)

    def append(self, entry, payload=b""):
        """Write an item: its first entry, its payload's whole entries, its last part.

        The caller has looked at `room`. Returns the Item. Page::writeItem.
        """
        item = self._begin(entry)
        whole = len(payload) // ENTRY_BYTES
        self._write_payload(item.index + 1, whole, payload[: whole * ENTRY_BYTES])
        self._write_payload(item.index + 1 + whole, 1, padded(payload[whole * ENTRY_BYTES :]))
        self.items.append(item)
        return item

    def copy(self, item, payload):
        """Write another page's item, entry by entry. Page::copyItems."""
        copied = self._begin(item.page.raw_entry(item))
        for i in range(copied.span - 1):
            entry = padded(payload[i * ENTRY_BYTES : (i + 1) * ENTRY_BYTES])
            self._write_payload(copied.index + 1 + i, 1, entry)
        self.items.append(copied)

    def _begin(self, entry):
        if self.state == PAGE_EMPTY:
            self._program(0, page_header(self.sequence))
            self.state = PAGE_ACTIVE
        item = Item(self, self._next_free, entry)
        self._next_free += item.span
        self._program(self._offset(item.index), entry)
        self._set_states(item.index, item.index + 1, ENTRY_WRITTEN)
        return item

    def _write_payload(self, index, entries, data):
        if len(data):
            self._program(self._offset(index), data)
            self._set_states(index, index + entries, ENTRY_WRITTEN)

    def raw_entry(self, item):
        """The 32 bytes of an item's first entry."""
        return self._read(self._offset(item.index), ENTRY_BYTES)

    def payload(self, item):
        """An item's payload, or None if its checksum is wrong."""
        if not item.has_payload:
            return b""
        payload = self._read(self._offset(item.index + 1), item.payload_bytes)
        return payload if payload_checksum(payload) == item.payload_checksum else None

    def erase_item(self, item):
        """Mark an item and its payload erased."""
        self.items.remove(item)
        self._set_states(item.index, item.index + item.span, ENTRY_ERASED)

    def mark(self, state):
        """Step to the page state `state`: FULL or FREEING."""
        self._program(0, state.to_bytes(4, "little"))
        self.state = state

    def erase(self):
        """Erase the sector."""
        self._device.ioctl(_IOCTL_BLOCK_ERASE, self._block)
        self._forget()

    def _end_of_entries(self, buffer):
        # An entry may have been written and its state not: anything but FF counts as used.
        for index in range(ENTRIES - 1, -1, -1):
            start = self._offset(index)
            if (
                self._entry_state(index) != ENTRY_EMPTY
                or buffer[start : start + ENTRY_BYTES] != _BLANK_ENTRY
            ):
                return index + 1
        return 0

    def _load_items(self, buffer):
        index = 0
        while index < self._next_free:
            index += self._load_entry(index, buffer)

    def _load_entry(self, index, buffer):
        """Take in the entry at `index`; returns how many entries that settles."""
        state = self._entry_state(index)
        if state != ENTRY_WRITTEN:
            if state == ENTRY_EMPTY and self.state == PAGE_ACTIVE:
                self._set_states(index, index + 1, ENTRY_ERASED)
            return 1
        start = self._offset(index)
        entry = buffer[start : start + ENTRY_BYTES]
        item = Item(self, index, entry)
        if not entry_is_intact(entry) or not item.is_consistent:
            self._set_states(index, index + 1, ENTRY_ERASED)
            return 1
        end = index + item.span
        if all(self._entry_state(i) == ENTRY_WRITTEN for i in range(index + 1, end)):
            self.items.append(item)
        else:
            self._set_states(index, end, ENTRY_ERASED)
            self._next_free = max(self._next_free, end)
        return item.span

    def _offset(self, index):
        return ENTRIES_OFFSET + index * ENTRY_BYTES

    def _entry_state(self, index):
        return self._states[index >> 2] >> (index & 3) * 2 & 3

    def _set_states(self, begin, end, state):
        # Backwards, as Page::alterEntryRangeState: the first entry's state is written last.
        for word in range((end - 1) // _ENTRIES_PER_WORD, begin // _ENTRIES_PER_WORD - 1, -1):
            first = word * _ENTRIES_PER_WORD
            for index in range(max(begin, first), min(end, first + _ENTRIES_PER_WORD)):
                shift = (index & 3) * 2
                self._states[index >> 2] &= ~(3 << shift) & 0xFF | state << shift
            self._program(STATES_OFFSET + word * 4, self._states[word * 4 : word * 4 + 4])

    def _read(self, offset, size):
        buffer = bytearray(size)
        self._device.readblocks(self._block, buffer, offset)
        return buffer

    def _program(self, offset, data):
        if self._writable:
            self._device.writeblocks(self._block, data, offset)
