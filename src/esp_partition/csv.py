"""Partition tables as CSV, in the syntax of ESP-IDF's gen_esp32part.py.

    # Name,   Type, SubType, Offset,  Size, Flags
    nvs,      data, nvs,     0x9000,  24K,
    ota_0,    app,  ota_0,   ,        1M,   encrypted

Not done here: expansion of environment variables (a `$` is refused).
"""

from . import table
from .errors import PartitionTableError
from .table import Partition

TYPES = {
    "app": table.TYPE_APP,
    "data": table.TYPE_DATA,
    "bootloader": table.TYPE_BOOTLOADER,
    "partition_table": table.TYPE_PARTITION_TABLE,
}

# gen_esp32part.py SUBTYPES; ota_0..ota_15 and tee_0, tee_1 are added below.
SUBTYPES = {
    table.TYPE_APP: {"factory": table.SUBTYPE_FACTORY, "test": table.SUBTYPE_TEST},
    table.TYPE_DATA: {
        "ota": table.SUBTYPE_OTADATA,
        "phy": 0x01,
        "nvs": table.SUBTYPE_NVS,
        "coredump": table.SUBTYPE_COREDUMP,
        "nvs_keys": 0x04,
        "efuse": 0x05,
        "undefined": 0x06,
        "esphttpd": 0x80,
        "fat": 0x81,
        "spiffs": 0x82,
        "littlefs": 0x83,
        "tee_ota": table.SUBTYPE_TEE_OTADATA,
    },
    table.TYPE_BOOTLOADER: {"primary": table.SUBTYPE_PRIMARY, "ota": 1, "recovery": 2},
    table.TYPE_PARTITION_TABLE: {"primary": table.SUBTYPE_PRIMARY, "ota": 1},
}
for _index in range(16):
    SUBTYPES[table.TYPE_APP]["ota_%d" % _index] = table.SUBTYPE_OTA_0 + _index
for _index in range(2):
    SUBTYPES[table.TYPE_APP]["tee_%d" % _index] = 0x30 + _index

FLAGS = {"encrypted": table.FLAG_ENCRYPTED, "readonly": table.FLAG_READONLY}

_SUBTYPE_RECOVERY = 2
_FIELDS = 6


class _Places:
    """Where the rows go that name the bootloader and the table itself."""

    def __init__(self, table_offset, bootloader_offset, recovery_offset):
        self.table_offset = table_offset
        self.bootloader_offset = bootloader_offset
        self.recovery_offset = recovery_offset


def parse_csv(text, table_offset=table.TABLE_OFFSET, bootloader_offset=None, recovery_offset=None):
    """Read a CSV table; blank offsets are filled in, a negative size means "up to that offset".

    bootloader_offset, recovery_offset: where rows of type bootloader go, as gen_esp32part.py's
    options. Returns a list of Partition, checked (table.check).
    Raises PartitionTableError: `csv` with the line's number, and what table.check raises.
    """
    places = _Places(table_offset, bootloader_offset, recovery_offset)
    partitions = []
    for index, line in enumerate(text.split("\n")):
        line = line.strip()
        if line and not line.startswith("#"):
            partitions.append(_parse_line(line, index + 1, places))
    _fill_offsets(partitions, table_offset + table.SECTOR_BYTES)
    table.check(partitions, table_offset)
    return partitions


def _parse_line(line, number, places):
    try:
        if "$" in line:
            raise ValueError("environment variables are not expanded")
        fields = [field.strip() for field in line.split(",")]
        fields += [""] * (_FIELDS - len(fields))
        label, type_text, subtype_text, offset_text, size_text, flags_text = fields[:_FIELDS]
        if not type_text:
            raise ValueError("the type is empty")
        type = parse_number(type_text, TYPES)
        subtype = _parse_subtype(subtype_text, type)
        offset = _parse_offset(offset_text, type, subtype, places)
        size = _parse_size(size_text, type, places)
        return Partition(type, subtype, offset, size, label, _parse_flags(flags_text))
    except ValueError as error:
        raise PartitionTableError("csv", "line %d: %s" % (number, error))


def _parse_subtype(text, type):
    if text:
        return parse_number(text, SUBTYPES.get(type, {}))
    if type == table.TYPE_APP:
        raise ValueError("an app partition needs a subtype")
    return SUBTYPES[table.TYPE_DATA]["undefined"]


def _parse_offset(text, type, subtype, places):
    if type == table.TYPE_BOOTLOADER and subtype == table.SUBTYPE_PRIMARY:
        return _require(places.bootloader_offset, "bootloader_offset")
    if type == table.TYPE_BOOTLOADER and subtype == _SUBTYPE_RECOVERY:
        return _require(places.recovery_offset, "recovery_offset")
    if type == table.TYPE_PARTITION_TABLE and subtype == table.SUBTYPE_PRIMARY:
        return places.table_offset
    return parse_number(text) if text else None


def _parse_size(text, type, places):
    if type == table.TYPE_BOOTLOADER:
        return places.table_offset - _require(places.bootloader_offset, "bootloader_offset")
    if type == table.TYPE_PARTITION_TABLE:
        return table.SECTOR_BYTES
    if not text:
        raise ValueError("the size is empty")
    return parse_number(text)


def _parse_flags(text):
    flags = 0
    for name in text.split(":"):
        if name and name not in FLAGS:
            raise ValueError("flag %r: expected one of %s" % (name, ", ".join(sorted(FLAGS))))
        flags |= FLAGS[name] if name else 0
    return flags


def parse_number(text, keywords=None):
    """A number (decimal, 0x, 0b, 0o; suffix K or M) or one of the keywords. Raises ValueError."""
    digits = text.lower()
    unit = 1
    while digits and digits[-1] in "km":
        unit *= 1024 if digits[-1] == "k" else 1024 * 1024
        digits = digits[:-1]
    try:
        return int(digits, 0) * unit
    except ValueError:
        if keywords and text.lower() in keywords:
            return keywords[text.lower()]
    expected = ", ".join(sorted(keywords)) if keywords else "a number"
    raise ValueError("%r: expected %s" % (text, expected))


def _require(value, name):
    if value is None:
        raise ValueError("a row of type bootloader needs %s" % name)
    return value


def _fill_offsets(partitions, first_free):
    """Blank offsets follow the partition before, aligned; sizes below zero become lengths."""
    last_end = first_free
    for p in partitions:
        if table.is_primary(p):
            continue
        if p.offset is None:
            alignment = table.alignment_of(p.type)
            p.offset = (last_end + alignment - 1) // alignment * alignment
        elif p.offset < last_end:
            raise PartitionTableError(
                "overlap",
                "%r: offset 0x%x, but the space before it ends at 0x%x"
                % (p.label, p.offset, last_end),
            )
        if p.size < 0:
            p.size = -p.size - p.offset
        last_end = p.offset + p.size
