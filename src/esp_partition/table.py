"""The partition table in flash: 32-byte rows, an MD5 row, the end marker.

Reads and writes what ESP-IDF's gen_esp32part.py does, with its checks. Not checked here: whether
the partitions fit into the flash chip. The syntax of CSV tables is in
`esp_partition.csv`.

Layout: ESP-IDF esp_flash_partitions.h, esp_partition_info_t: magic AA 50, type u8, subtype u8,
offset u32, size u32, label 16 bytes, flags u32, little endian.
"""

import struct

from ota_crypto.compat import const

from .compat import md5
from .errors import PartitionTableError

TABLE_OFFSET = 0x8000
TABLE_MAX_BYTES = 0xC00
SECTOR_BYTES = 4096

# esp_partition_type_t, esp_partition.h
TYPE_APP = 0
TYPE_DATA = 1
TYPE_BOOTLOADER = 2
TYPE_PARTITION_TABLE = 3

# esp_partition_subtype_t, those with a rule of their own here or in a bootloader
SUBTYPE_FACTORY = 0x00
SUBTYPE_OTA_0 = 0x10
SUBTYPE_OTA_15 = 0x1F
SUBTYPE_TEST = 0x20
SUBTYPE_OTADATA = 0x00
SUBTYPE_NVS = 0x02
SUBTYPE_COREDUMP = 0x03
SUBTYPE_TEE_OTADATA = 0x90
SUBTYPE_PRIMARY = 0x00

FLAG_ENCRYPTED = 1
FLAG_READONLY = 2

_ROW = "<2sBBII16sI"
_ROW_BYTES = const(32)
_LABEL_BYTES = const(16)
_MAGIC = b"\xaa\x50"
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
_END = b"\xff" * _ROW_BYTES
_APP_ALIGNMENT = const(0x10000)
_OTADATA_BYTES = const(0x2000)
_NVS_MIN_BYTES = const(0x3000)


class Partition:
    """One row. offset and size in bytes; flags: FLAG_ENCRYPTED, FLAG_READONLY, others as found."""

    def __init__(self, type, subtype, offset, size, label, flags=0):
        self.type = type
        self.subtype = subtype
        self.offset = offset
        self.size = size
        self.label = label
        self.flags = flags

    @property
    def end(self):
        """Offset of the first byte after the partition."""
        return self.offset + self.size

    def __eq__(self, other):
        return isinstance(other, Partition) and self._fields() == other._fields()

    def __hash__(self):
        return hash(self._fields())

    def __repr__(self):
        return "Partition(%d, 0x%02x, 0x%x, 0x%x, %r, %d)" % self._fields()

    def _fields(self):
        return (self.type, self.subtype, self.offset, self.size, self.label, self.flags)


def parse(data, table_offset=TABLE_OFFSET):
    """Read a binary table and check it.

    data: the table from its first row, with at least one row of FF after the last (at most 0xC00
    bytes of it count). Returns a list of Partition in the table's order.
    Raises PartitionTableError: `magic`, `md5`, `after-md5`, `end-marker`, `label`, and what
    `check` raises. Stricter than gen_esp32part.py: nothing but the end marker may follow the MD5
    row, which does not cover it.
    """
    rows = memoryview(data)[:TABLE_MAX_BYTES]
    partitions = []
    digested = False
    for position in range(0, len(rows) - _ROW_BYTES + 1, _ROW_BYTES):
        row = bytes(rows[position : position + _ROW_BYTES])
        if row == _END:
            check(partitions, table_offset)
            return partitions
        if digested:
            raise PartitionTableError("after-md5", "row at 0x%x follows the MD5 row" % position)
        if row[:2] == _MD5_MAGIC[:2]:
            _check_md5(row, rows[:position])
            digested = True
        else:
            partitions.append(_parse_row(row, position))
    raise PartitionTableError(
        "end-marker", "no end marker (32 bytes of FF) in %d bytes of partition table" % len(rows)
    )


def build(partitions, table_offset=TABLE_OFFSET):
    """The binary table: rows, MD5 row, FF up to 0xC00 bytes; byte for byte gen_esp32part.py's.

    Raises PartitionTableError as `check`, or `too-long` (more than 94 rows), `label`.
    """
    check(partitions, table_offset)
    rows = b"".join([_build_row(p) for p in partitions])
    if len(rows) + _ROW_BYTES >= TABLE_MAX_BYTES:
        raise PartitionTableError(
            "too-long", "%d partitions: a table holds at most 94" % len(partitions)
        )
    rows += _MD5_MAGIC + md5(rows)
    return rows + b"\xff" * (TABLE_MAX_BYTES - len(rows))


def parse_csv(text, table_offset=TABLE_OFFSET, bootloader_offset=None, recovery_offset=None):
    """Read a CSV table: `esp_partition.csv.parse_csv`, loaded when it is needed."""
    from . import csv

    return csv.parse_csv(text, table_offset, bootloader_offset, recovery_offset)


def check(partitions, table_offset=TABLE_OFFSET):
    """Check the partitions of one table against each other.

    Raises PartitionTableError: `alignment`, `duplicate-label`, `low-offset`, `overlap`,
    `otadata`, `readonly`, `nvs-size`, `range`.
    Source: gen_esp32part.py, PartitionTable.verify and PartitionDefinition.verify.
    """
    labels = {}
    for p in partitions:
        _check_alone(p)
        if p.label in labels:
            raise PartitionTableError("duplicate-label", "two partitions are named %r" % p.label)
        labels[p.label] = p
    _check_places(partitions, table_offset + SECTOR_BYTES)
    for subtype in (SUBTYPE_OTADATA, SUBTYPE_TEE_OTADATA):
        _check_otadata(find(partitions, TYPE_DATA, subtype))


def find(partitions, type, subtype=None):
    """All partitions of a type, and of a subtype unless None, in the table's order."""
    return [p for p in partitions if p.type == type and subtype in (None, p.subtype)]


def ota_slots(partitions):
    """The OTA app slots in the order of their subtypes: index 0 is ota_0.

    Raises PartitionTableError("slot-gap") if a number is missing or there twice: ESP-IDF counts
    the slots and takes them for ota_0 to ota_(n-1).
    """
    slots = [p for p in find(partitions, TYPE_APP) if SUBTYPE_OTA_0 <= p.subtype <= SUBTYPE_OTA_15]
    slots.sort(key=lambda p: p.subtype)
    for index, p in enumerate(slots):
        if p.subtype != SUBTYPE_OTA_0 + index:
            raise PartitionTableError(
                "slot-gap",
                "OTA slots: expected ota_%d, found ota_%d" % (index, p.subtype - SUBTYPE_OTA_0),
            )
    return slots


def alignment_of(type):
    """Alignment of a partition's offset in bytes: 64 KiB for apps, else 4 KiB."""
    return _APP_ALIGNMENT if type == TYPE_APP else SECTOR_BYTES


def is_primary(partition):
    """Whether this row names the bootloader or the table itself, which lie below the others."""
    return (
        partition.type in (TYPE_BOOTLOADER, TYPE_PARTITION_TABLE)
        and partition.subtype == SUBTYPE_PRIMARY
    )


def _parse_row(row, position):
    magic, type, subtype, offset, size, label, flags = struct.unpack(_ROW, row)
    if magic != _MAGIC:
        raise PartitionTableError(
            "magic",
            "row at 0x%x: magic %02x %02x, expected aa 50" % (position, magic[0], magic[1]),
        )
    end = label.find(b"\x00")
    try:
        text = (label if end < 0 else label[:end]).decode()
    except UnicodeError:
        raise PartitionTableError("label", "row at 0x%x: its label is not UTF-8" % position)
    return Partition(type, subtype, offset, size, text, flags)


def _build_row(p):
    label = p.label.encode()
    if len(label) > _LABEL_BYTES or b"\x00" in label:
        raise PartitionTableError("label", "label %r: expected at most 16 bytes" % p.label)
    return struct.pack(_ROW, _MAGIC, p.type, p.subtype, p.offset, p.size, label, p.flags)


def _check_md5(row, rows):
    if row[16:] != md5(rows):
        raise PartitionTableError("md5", "MD5 of the rows above 0x%x does not match" % len(rows))


def _check_alone(p):
    if not (0 <= p.type <= 0xFF and 0 <= p.subtype <= 0xFF and 0 <= p.flags <= 0xFFFFFFFF):
        raise PartitionTableError("range", "%r: type and subtype have to be u8, flags u32" % p)
    if not (0 <= p.offset <= 0xFFFFFFFF and 0 <= p.size <= 0xFFFFFFFF):
        raise PartitionTableError("range", "%r: offset and size have to be u32" % p)
    alignment = alignment_of(p.type)
    if p.offset % alignment:
        raise PartitionTableError(
            "alignment", "%r: offset 0x%x is no multiple of 0x%x" % (p.label, p.offset, alignment)
        )
    if p.type == TYPE_APP and p.size % SECTOR_BYTES:
        raise PartitionTableError(
            "alignment", "%r: size 0x%x is no multiple of 0x%x" % (p.label, p.size, SECTOR_BYTES)
        )
    if p.type == TYPE_DATA:
        _check_data(p)


def _check_data(p):
    if p.subtype in (SUBTYPE_OTADATA, SUBTYPE_COREDUMP) and p.flags & FLAG_READONLY:
        raise PartitionTableError("readonly", "%r cannot be read-only" % p.label)
    if p.subtype == SUBTYPE_NVS and p.size < _NVS_MIN_BYTES and not p.flags & FLAG_READONLY:
        raise PartitionTableError(
            "nvs-size",
            "%r: NVS of 0x%x bytes, expected at least 0x3000 or the flag readonly"
            % (p.label, p.size),
        )


def _check_places(partitions, first_free):
    last = None
    for p in sorted(partitions, key=lambda p: p.offset):
        if p.offset < first_free and not is_primary(p):
            raise PartitionTableError(
                "low-offset", "%r: offset 0x%x is below 0x%x" % (p.label, p.offset, first_free)
            )
        if last is not None and p.offset < last.end:
            raise PartitionTableError(
                "overlap",
                "%r at 0x%x overlaps %r, which ends at 0x%x"
                % (p.label, p.offset, last.label, last.end),
            )
        last = p


def _check_otadata(found):
    if len(found) > 1:
        raise PartitionTableError("otadata", "%d otadata partitions, expected one" % len(found))
    if found and found[0].size != _OTADATA_BYTES:
        raise PartitionTableError(
            "otadata",
            "%r: size 0x%x, otadata has to be 0x2000" % (found[0].label, found[0].size),
        )
