"""The virtual bootloader against ESP-IDF's rules (boot.md), on both runtimes."""

from signed_images import OWNER, STRANGER, signed_app

from esp_image import build
from esp_image.signature import parse_sector
from esp_partition import otadata, table
from virtual_esp32 import bootloader
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash

MAC = b"\x02\x00\x00\x00\x00\x01"
SLOTS = """nvs,data,nvs,0x9000,0x4000
otadata,data,ota,0xd000,0x2000
"""
FACTORY = SLOTS + "factory,app,factory,0x10000,0x10000\n"
OTA = """ota_0,app,ota_0,0x20000,0x10000
ota_1,app,ota_1,0x30000,0x10000
ota_2,app,ota_2,0x40000,0x10000
"""
APP = build.build_app("1.0.0", "thermo", chip="esp32c6")
OFFSETS = {"factory": 0x10000, "ota_0": 0x20000, "ota_1": 0x30000, "ota_2": 0x40000}


def flash_with(layout, images, entries=()):
    """Flash with a partition table, images by label, and otadata entries (seq, state)."""
    content = bytearray(b"\xff" * 0x50000)
    rows = table.build(table.parse_csv(layout))
    content[0x8000 : 0x8000 + len(rows)] = rows
    for label, image in images.items():
        content[OFFSETS[label] : OFFSETS[label] + len(image)] = image
    for sector, entry in enumerate(entries):
        if entry is not None:
            raw = entry if isinstance(entry, bytes) else otadata.build_entry(*entry)
            content[0xD000 + 4096 * sector : 0xD000 + 4096 * sector + 32] = raw
    return NorFlash(MemoryStorage(content))


def boot(flash, rollback=True, **fuses):
    return bootloader.boot(flash, EFuse(MAC, chip="esp32c6", **fuses), rollback)


def booted(flash, **options):
    partition = boot(flash, **options).partition
    return partition.label if partition else None


def entry_of(flash, sector):
    parsed = otadata.parse_entry(flash.read(0xD000 + 4096 * sector, 32))
    return (parsed.seq, otadata.state_name(parsed.state)) if parsed.crc_ok else None


ALL = {"ota_0": APP, "ota_1": APP, "ota_2": APP}


def test_a_new_board_boots_its_first_slot_and_records_it():
    flash = flash_with(SLOTS + OTA, ALL)
    assert booted(flash) == "ota_0"
    assert entry_of(flash, 0) == (1, "VALID")
    assert entry_of(flash, 1) is None


def test_what_boots_instead_of_an_empty_first_slot_is_what_is_recorded():
    flash = flash_with(SLOTS + OTA, {"ota_2": APP})
    assert booted(flash) == "ota_2"
    assert entry_of(flash, 0) == (3, "VALID")


def test_a_factory_image_boots_while_otadata_names_no_slot():
    images = {"factory": APP, "ota_0": APP}
    flash = flash_with(FACTORY + OTA, images)
    assert booted(flash) == "factory"
    assert entry_of(flash, 0) is None
    flash = flash_with(FACTORY + OTA, images, [(1, otadata.INVALID), (2, otadata.ABORTED)])
    assert booted(flash) == "factory"


def test_the_larger_sequence_number_names_the_slot():
    for seqs, slot in (((1, 2), "ota_1"), ((5, 4), "ota_1"), ((3, 2), "ota_2"), ((7, 7), "ota_0")):
        entries = [(seq, otadata.VALID) for seq in seqs]
        assert booted(flash_with(SLOTS + OTA, ALL, entries)) == slot, seqs


def test_a_new_image_gets_one_chance():
    flash = flash_with(SLOTS + OTA, ALL, [(1, otadata.VALID), (2, otadata.NEW)])
    assert booted(flash) == "ota_1"
    assert entry_of(flash, 1) == (2, "PENDING_VERIFY")
    assert booted(flash) == "ota_0"
    assert entry_of(flash, 1) == (2, "ABORTED")
    assert booted(flash) == "ota_0"


def test_without_rollback_support_a_new_image_stays():
    flash = flash_with(SLOTS + OTA, ALL, [(1, otadata.VALID), (2, otadata.NEW)])
    before = flash.operations
    assert booted(flash, rollback=False) == "ota_1"
    assert flash.operations == before


def test_a_damaged_entry_leaves_the_other_in_charge():
    damaged = otadata.build_entry(2, otadata.VALID)[:28] + b"\x00\x00\x00\x00"
    assert booted(flash_with(SLOTS + OTA, ALL, [(2, otadata.VALID), damaged])) == "ota_1"


def test_with_damaged_otadata_every_slot_is_tried():
    damaged = otadata.build_entry(2, otadata.VALID)[:28] + b"\x00\x00\x00\x00"
    flash = flash_with(SLOTS + OTA, ALL, [damaged, damaged])
    before = flash.operations
    assert booted(flash) == "ota_0"
    assert flash.operations == before


def test_the_search_goes_down_first_and_then_up():
    entries = [(2, otadata.VALID), None]
    assert booted(flash_with(SLOTS + OTA, {"ota_0": APP, "ota_2": APP}, entries)) == "ota_0"
    assert booted(flash_with(SLOTS + OTA, {"ota_2": APP}, entries)) == "ota_2"
    assert booted(flash_with(FACTORY + OTA, {"factory": APP, "ota_2": APP}, entries)) == "factory"
    assert booted(flash_with(SLOTS + OTA, {}, entries)) is None


def test_an_image_that_does_not_verify_is_passed_over_with_its_reason():
    broken = bytearray(APP)
    broken[300] ^= 1
    flash = flash_with(SLOTS + OTA, {"ota_0": APP, "ota_1": broken}, [(2, otadata.VALID), None])
    decision = boot(flash)
    assert decision.partition.label == "ota_0"
    assert decision.skipped[0][0] == "ota_1"
    other = build.build_app("1.0.0", "thermo", chip="esp32s3")
    assert booted(flash_with(SLOTS + OTA, {"ota_0": other, "ota_1": APP})) == "ota_1"


def test_with_secure_boot_only_a_trusted_unrevoked_signature_boots():
    owned = signed_app("1.0.0", OWNER)
    digest = parse_sector(memoryview(owned)[len(owned) - 4096 :])[0].key_digest
    fuses = {"secure_boot": 2, "key_digests": [digest]}
    images = {"ota_0": owned, "ota_1": signed_app("2.0.0", STRANGER), "ota_2": APP}
    entries = [(2, otadata.VALID), None]
    assert booted(flash_with(SLOTS + OTA, images, entries), **fuses) == "ota_0"
    assert booted(flash_with(SLOTS + OTA, images, entries)) == "ota_1"
    assert booted(flash_with(SLOTS + OTA, images, entries), revoked=[True], **fuses) is None


def test_set_boot_verifies_first_and_writes_the_other_entry():
    flash = flash_with(SLOTS + OTA, {"ota_0": APP, "ota_2": APP})
    board = VirtualBoard(flash, EFuse(MAC, chip="esp32c6"))
    board.boot()
    second = board.running_partition().get_next_update()
    assert second.info()[4] == "ota_1"
    try:
        second.set_boot()
        raise AssertionError("an empty slot was taken")
    except OSError as error:
        assert error.args[0] == -5379
    assert entry_of(flash, 1) is None
    second.get_next_update().set_boot()
    assert entry_of(flash, 1) == (3, "NEW")
    assert booted(flash) == "ota_2"


def test_confirming_makes_the_running_entry_valid():
    flash = flash_with(SLOTS + OTA, ALL, [(1, otadata.VALID), (2, otadata.NEW)])
    board = VirtualBoard(flash, EFuse(MAC, chip="esp32c6"))
    board.boot()
    board.mark_app_valid_cancel_rollback()
    assert entry_of(flash, 1) == (2, "VALID")
    assert board.boot().partition.label == "ota_1"


def test_a_table_that_cannot_be_read_is_an_error_with_its_place():
    flash = flash_with(SLOTS + OTA, ALL)
    flash.write(0x8000, bytes(4))
    try:
        boot(flash)
        raise AssertionError("booted without a partition table")
    except Exception as error:
        assert "partition table at 0x8000" in str(error)
