"""Partition tables and otadata, on both runtimes."""

from binascii import hexlify
from hashlib import sha256

from esp_partition import OtadataError, PartitionTableError, otadata, table

CSV = """\
# Name, Type, SubType, Offset, Size, Flags
nvs,      data, nvs,     ,  0x4000,
otadata,  data, ota,     ,  8K,
phy_init, data, phy,     ,  4k,
factory,  app,  factory, ,  1M
ota_0,    0,    ota_0,   ,  0x100000, encrypted
ota_1,    app,  17,      ,  1024K,
vfs,      data, fat,     0x400000, -0x800000, readonly:encrypted
custom,   0x40, 0x0,   ,  64K,
sixteen_chars_ab,0x41,,,4K
"""
# SHA-256 of what ESP-IDF's gen_esp32part.py (1.5) makes of it.
GOLDEN = b"dcf32de28cd9f70d8f82265d07b0db2c077146ac7d092ab31eb16f15754b3ba3"

EMPTY = b"\xff" * 32


def error_of(kind, call, *arguments):
    try:
        call(*arguments)
    except kind as error:
        return error.code
    raise AssertionError("accepted")


def test_a_csv_table_becomes_the_bytes_gen_esp32part_makes_of_it():
    built = table.build(table.parse_csv(CSV))
    assert len(built) == table.TABLE_MAX_BYTES
    assert hexlify(sha256(built).digest()) == GOLDEN


def test_a_binary_table_is_read_back_as_it_was_built():
    partitions = table.parse_csv(CSV)
    assert table.parse(table.build(partitions)) == partitions
    assert partitions[6].flags == table.FLAG_READONLY | table.FLAG_ENCRYPTED
    assert partitions[6].end == 0x800000


def test_a_changed_row_breaks_the_md5():
    built = bytearray(table.build(table.parse_csv(CSV)))
    built[12] ^= 1
    assert error_of(PartitionTableError, table.parse, built) == "md5"


def test_a_table_without_md5_row_is_read():
    built = table.build(table.parse_csv(CSV))
    rows = built[: 9 * 32] + b"\xff" * 32
    assert len(table.parse(rows)) == 9


def test_slots_come_in_the_order_of_their_subtypes():
    partitions = list(reversed(table.parse_csv(CSV)))
    assert [p.label for p in table.ota_slots(partitions)] == ["ota_0", "ota_1"]


def test_a_missing_slot_number_is_refused():
    partitions = [p for p in table.parse_csv(CSV) if p.label != "ota_0"]
    assert error_of(PartitionTableError, table.ota_slots, partitions) == "slot-gap"


def test_the_crc_of_sequence_one_is_the_roms():
    assert otadata.seq_crc(1) == 0x4743989A


def test_erased_otadata_has_no_active_entry():
    entry = otadata.parse_entry(EMPTY)
    assert entry.is_invalid and not entry.crc_ok
    assert otadata.active_index(entry, entry) is None
    assert error_of(OtadataError, otadata.confirm, [entry, entry]) == "no-active-entry"


def test_an_update_goes_to_the_other_sector_and_is_confirmed_in_place():
    entries = [otadata.parse_entry(EMPTY)] * 2
    sector, raw = otadata.next_entry(entries, 1, 2, otadata.NEW)
    assert sector == 0
    # Golden: seq 2, label FF, state NEW, crc.
    assert raw == b"\x02\x00\x00\x00" + b"\xff" * 20 + b"\x00\x00\x00\x00" + b"\x74\x37\xf6\x55"
    entries = [otadata.parse_entry(raw), entries[1]]
    sector, raw = otadata.next_entry(entries, 0, 2, otadata.NEW)
    assert sector == 1
    entries[1] = otadata.parse_entry(raw)
    assert otadata.active_index(entries[0], entries[1]) == 1
    assert otadata.slot_of(entries[1].seq, 2) == 0
    sector, raw = otadata.confirm(entries)
    assert sector == 1 and otadata.parse_entry(raw).state == otadata.VALID
    sector, raw = otadata.reject(entries)
    assert sector == 1 and otadata.parse_entry(raw).is_invalid
    assert otadata.fallback_slot(entries, 2) == 1


def test_a_sequence_near_its_end_is_refused():
    entry = otadata.parse_entry(otadata.build_entry(0xFFFFFFFE, otadata.VALID))
    entries = [entry, otadata.parse_entry(EMPTY)]
    other = 1 - otadata.slot_of(entry.seq, 2)
    assert error_of(OtadataError, otadata.next_entry, entries, other, 2, otadata.NEW) == (
        "seq-exhausted"
    )
