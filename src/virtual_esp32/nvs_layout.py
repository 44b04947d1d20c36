"""NVS pages as bytes: headers, entry headers, checksums and type codes. Pure.

A page is one 4096-byte sector: a 32-byte header, 126 entry states of two bits (32 bytes), then 126
entries of 32 bytes. Left to nvs_page: where entries stand; to nvs_storage: what they mean together.

Source: ESP-IDF components/nvs_flash, nvs_page.hpp (page header, states), nvs_types.hpp (entry), and
"Internals" in its documentation of NVS. Little endian throughout.
"""

import struct
from binascii import crc32

from .compat import const

PAGE_BYTES = const(4096)
ENTRY_BYTES = const(32)
ENTRIES = const(126)
HEADER_BYTES = const(32)
STATES_OFFSET = const(32)
STATES_BYTES = const(32)
ENTRIES_OFFSET = const(64)
KEY_MAX_BYTES = const(15)
CHUNK_MAX_BYTES = const((ENTRIES - 1) * ENTRY_BYTES)

# Page::PageState. Each step only clears bits.
PAGE_EMPTY = 0xFFFFFFFF
PAGE_ACTIVE = 0xFFFFFFFE
PAGE_FULL = 0xFFFFFFFC
PAGE_FREEING = 0xFFFFFFF8
PAGE_CORRUPT = 0xFFFFFFF0

# Page::EntryState, two bits; 1 is not defined there and counts as erased.
ENTRY_EMPTY = const(3)
ENTRY_WRITTEN = const(2)
ENTRY_ERASED = const(0)

# ItemType
TYPE_U8 = const(0x01)
TYPE_I32 = const(0x14)
TYPE_STRING = const(0x21)
TYPE_BLOB = const(0x41)
TYPE_BLOB_DATA = const(0x42)
TYPE_BLOB_INDEX = const(0x48)

TYPE_NAMES = {
    TYPE_U8: "u8",
    0x11: "i8",
    0x02: "u16",
    0x12: "i16",
    0x04: "u32",
    TYPE_I32: "i32",
    0x08: "u64",
    0x18: "i64",
    TYPE_STRING: "string",
    TYPE_BLOB: "blob",
    TYPE_BLOB_DATA: "blob data",
    TYPE_BLOB_INDEX: "blob",
}
_INTEGER_FORMATS = {
    TYPE_U8: "<B",
    0x11: "<b",
    0x02: "<H",
    0x12: "<h",
    0x04: "<I",
    TYPE_I32: "<i",
    0x08: "<Q",
    0x18: "<q",
}

# Chunks of a blob are numbered from 0 or from 128 on, by turns: a new value's chunks and the old
# one's stand side by side until the new index is written (nvs_types.hpp, VerOffset).
CHUNK_NONE = const(0xFF)
FIRST_CHUNKS = (0, 0x80)

# nvs_constants.h: versions count downwards.
_VERSION_2 = const(0xFE)
_CRC_START = 0xFFFFFFFF
_BLANK_HEADER = b"\xff" * HEADER_BYTES
_KEY_FIELD_BYTES = const(16)


def page_header(sequence):
    """The 32 bytes that make an erased page ACTIVE. sequence: u32, rising from page to page."""
    header = bytearray(_BLANK_HEADER)
    struct.pack_into("<IIB", header, 0, PAGE_ACTIVE, sequence, _VERSION_2)
    struct.pack_into("<I", header, 28, _checksum(header[4:28]))
    return header


def parse_page_header(header):
    """(state, sequence number, whether the version can be read); state is PAGE_CORRUPT if the
    checksum is wrong or the state is none of ACTIVE, FULL, FREEING."""
    state, sequence, version = struct.unpack_from("<IIB", header)
    checksum = struct.unpack_from("<I", header, 28)[0]
    if checksum != _checksum(header[4:28]) or state not in (PAGE_ACTIVE, PAGE_FULL, PAGE_FREEING):
        return PAGE_CORRUPT, 0, True
    return state, sequence, version >= _VERSION_2


class Item:
    """The first entry of a value, and where it stands.

    namespace: index, 0 for entries that name namespaces. kind: type code. span: entries taken,
    this one included. chunk: number of a blob's chunk. key: bytes. data: the entry's 8 data bytes.
    page, index: where it stands.
    """

    def __init__(self, page, index, entry):
        self.page = page
        self.index = index
        self.namespace = entry[0]
        self.kind = entry[1]
        self.span = entry[2]
        self.chunk = entry[3]
        self.key = bytes(entry[8:24]).split(b"\x00", 1)[0]
        self.data = bytes(entry[24:32])

    @property
    def identity(self):
        """Equal for an item and its copies in other pages, and for no others."""
        return (self.namespace, self.kind, self.chunk, self.key, self.data)

    @property
    def has_payload(self):
        """Whether its bytes stand in entries of their own behind this one."""
        return self.kind in (TYPE_STRING, TYPE_BLOB, TYPE_BLOB_DATA)

    @property
    def payload_bytes(self):
        """Size of that payload."""
        return struct.unpack_from("<H", self.data)[0]

    @property
    def payload_checksum(self):
        """Checksum of that payload."""
        return struct.unpack_from("<I", self.data, 4)[0]

    @property
    def blob_bytes(self):
        """Size of the blob that a blob index stands for."""
        return struct.unpack_from("<I", self.data)[0]

    @property
    def chunks(self):
        """Numbers of the chunks that belong to a blob index."""
        return range(self.data[5], self.data[5] + self.data[4])

    @property
    def integer(self):
        """The value of an integer entry; None for other types."""
        layout = _INTEGER_FORMATS.get(self.kind)
        return None if layout is None else struct.unpack_from(layout, self.data)[0]

    @property
    def is_consistent(self):
        """Whether span and sizes fit each other and the page (Item::checkHeaderConsistency)."""
        if self.has_payload:
            return self.span == 1 + _entries(self.payload_bytes) <= ENTRIES - self.index
        return self.span == 1


def entry_is_intact(entry):
    """Whether the checksum of a value's first entry (32 bytes) fits."""
    return struct.unpack_from("<I", entry, 4)[0] == _entry_checksum(entry)


def integer_entry(namespace, kind, key, value):
    """The 32 bytes of an integer entry. Not checked here: whether `value` fits its type."""
    data = bytearray(b"\xff" * 8)
    struct.pack_into(_INTEGER_FORMATS[kind], data, 0, value)
    return _entry(namespace, kind, 1, CHUNK_NONE, key, data)


def payload_entry(namespace, kind, chunk, key, payload):
    """The 32 bytes that stand before a payload of up to CHUNK_MAX_BYTES."""
    data = struct.pack("<HHI", len(payload), 0xFFFF, payload_checksum(payload))
    return _entry(namespace, kind, 1 + _entries(len(payload)), chunk, key, data)


def blob_index_entry(namespace, key, size, first_chunk, chunk_count):
    """The 32 bytes that make a blob of `size` bytes from chunks already written."""
    data = struct.pack("<IBBH", size, chunk_count, first_chunk, 0xFFFF)
    return _entry(namespace, TYPE_BLOB_INDEX, 1, CHUNK_NONE, key, data)


def payload_checksum(payload):
    """The checksum a payload entry carries."""
    return _checksum(payload)


def padded(payload):
    """A payload filled up with FF to whole entries."""
    return bytes(payload) + b"\xff" * (-len(payload) % ENTRY_BYTES)


def _entry(namespace, kind, span, chunk, key, data):
    entry = bytearray(ENTRY_BYTES)
    entry[0:4] = bytes((namespace, kind, span, chunk))
    entry[8 : 8 + len(key)] = key
    entry[8 + _KEY_FIELD_BYTES :] = data
    struct.pack_into("<I", entry, 4, _entry_checksum(entry))
    return entry


def _entry_checksum(entry):
    return crc32(entry[8:32], crc32(entry[0:4], _CRC_START))


def _checksum(data):
    return crc32(data, _CRC_START)


def _entries(size):
    return (size + ENTRY_BYTES - 1) // ENTRY_BYTES
