"""The virtual bootloader against ESP-IDF's rules (boot.md), on both runtimes."""

from signed_images import OWNER, STRANGER, signed_app

from esp_image import build
from esp_image.signature import parse_sector
from esp_partition import otadata, table
from virtual_esp32 import bootloader
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.errors import VirtualBoardError
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


PENDING = otadata.PENDING_VERIFY
TEST_APP = "test,app,test,0x10000,0x10000\n"


def damaged(seq, state):
    return otadata.build_entry(seq, state)[:28] + b"\x00\x00\x00\x00"


def app_of(secure_version):
    return build.build_app("1.0.0", "thermo", chip="esp32c6", secure_version=secure_version)


def boot_anti_rollback(flash, secure_version=0, chip="esp32c6"):
    """(label, what eFuse was raised to, eFuse afterwards)."""
    efuse = EFuse(MAC, chip=chip, secure_version=secure_version)
    decision = bootloader.boot(flash, efuse, anti_rollback=True)
    label = decision.partition.label if decision.partition else None
    return label, decision.secure_version, efuse.secure_version


def test_aborting_a_pending_entry_leaves_its_wrong_crc_wrong():
    flash = flash_with(SLOTS + OTA, ALL, [damaged(2, PENDING), None])
    assert booted(flash) == "ota_0"
    # blank after all: the slot that boots is recorded in its place
    assert entry_of(flash, 0) == (1, "VALID")
    flash = flash_with(SLOTS + OTA, ALL, [(1, otadata.VALID), damaged(2, PENDING)])
    assert booted(flash) == "ota_0"
    raw = bytes(flash.read(0xE000, 32))
    assert raw == damaged(2, otadata.ABORTED)


def test_a_table_without_slots_boots_factory_or_test_app_and_records_nothing():
    images = {"factory": APP}
    for rollback in (False, True):
        flash = flash_with(FACTORY, images)
        assert booted(flash, rollback=rollback) == "factory"
        flash = flash_with(SLOTS + TEST_APP, images)
        assert booted(flash, rollback=rollback) == "test"
        assert flash.operations == 0
        assert booted(flash_with(SLOTS, {}), rollback=rollback) is None


def test_the_test_app_boots_last_and_is_not_recorded():
    flash = flash_with(SLOTS + TEST_APP + OTA, {"factory": APP})
    assert booted(flash) == "test"
    assert flash.operations == 0
    flash = flash_with(SLOTS + TEST_APP + OTA, {"factory": APP, "ota_2": APP})
    assert booted(flash) == "ota_2"


def test_an_image_without_appended_sha256_boots_on_its_checksum():
    bare = bytearray(APP[:-32])
    bare[23] = 0
    assert booted(flash_with(SLOTS + OTA, {"ota_0": bare})) == "ota_0"
    bare[-1] ^= 1
    assert booted(flash_with(SLOTS + OTA, {"ota_0": bare})) is None


def test_a_missing_slot_number_is_passed_over_and_counts():
    layout = SLOTS + "a,app,ota_0,0x20000,0x10000\nc,app,ota_2,0x40000,0x10000\n"
    images = {"ota_0": APP, "ota_2": APP}
    flash = flash_with(layout, images, [(2, otadata.VALID), None])
    assert booted(flash) == "a"
    assert booted(flash_with(layout, {"ota_2": APP}, [(1, otadata.VALID), None])) is None


def test_seq_zero_is_valid_and_counts_as_2_to_the_32nd():
    assert booted(flash_with(SLOTS + OTA, ALL, [(0, otadata.VALID), None])) == "ota_0"
    two = SLOTS + "ota_0,app,ota_0,0x20000,0x10000\nota_1,app,ota_1,0x30000,0x10000\n"
    flash = flash_with(two, {"ota_0": APP, "ota_1": APP}, [(0, otadata.VALID), None])
    assert booted(flash) == "ota_1"


def test_secure_boot_v1_boots_nothing_without_its_key():
    flash = flash_with(SLOTS + OTA, ALL)
    assert booted(flash, secure_boot=1) is None


def test_a_partition_past_the_flash_is_an_error_of_the_table():
    flash = flash_with(SLOTS + "ota_0,app,ota_0,0x20000,0x40000\n", ALL)
    try:
        boot(flash)
        raise AssertionError("booted from a partition that is not there")
    except VirtualBoardError as error:
        assert "ota_0 ends at 0x60000, the flash at 0x50000" in str(error)


def test_a_boot_goes_on_when_otadata_cannot_be_written():
    class Worn(NorFlash):
        def erase_sector(self, sector):
            raise OSError(116, "ESP_ERR_TIMEOUT")

    content = flash_with(SLOTS + OTA, ALL, [(1, otadata.VALID), (2, PENDING)]).read(0, 0x50000)
    assert booted(Worn(MemoryStorage(content))) == "ota_0"
    assert booted(Worn(MemoryStorage(flash_with(SLOTS + OTA, ALL).read(0, 0x50000)))) == "ota_0"


def test_anti_rollback_refuses_images_below_efuse():
    images = {"ota_0": app_of(3), "ota_1": app_of(2), "ota_2": APP}
    entries = [(1, otadata.VALID), (2, otadata.VALID)]
    flash = flash_with(SLOTS + OTA, images, entries)
    assert boot_anti_rollback(flash, 0) == ("ota_1", 2, 2)
    assert boot_anti_rollback(flash, 3) == ("ota_0", None, 3)
    assert boot_anti_rollback(flash, 4) == (None, None, 4)
    # without a candidate entry: everything, from the factory position upwards
    flash = flash_with(SLOTS + OTA, images, [(3, otadata.VALID), (2, otadata.ABORTED)])
    assert boot_anti_rollback(flash, 1) == ("ota_0", None, 1)


def test_anti_rollback_raises_efuse_for_valid_entries_and_first_boots_only():
    images = {"ota_0": app_of(1), "ota_1": app_of(2), "ota_2": APP}
    flash = flash_with(SLOTS + OTA, images, [(1, otadata.VALID), (2, otadata.NEW)])
    assert boot_anti_rollback(flash) == ("ota_1", None, 0)
    assert entry_of(flash, 1) == (2, "PENDING_VERIFY")
    assert boot_anti_rollback(flash) == ("ota_0", 1, 1)
    flash = flash_with(SLOTS + OTA, images)
    assert boot_anti_rollback(flash, 1) == ("ota_0", None, 1)
    flash = flash_with(SLOTS + OTA, images)
    assert boot_anti_rollback(flash, 2) == ("ota_1", None, 2)
    assert entry_of(flash, 0) == (2, "VALID")


def test_with_anti_rollback_a_first_boot_of_factory_is_not_recorded():
    images = {"factory": app_of(1), "ota_0": app_of(1)}
    flash = flash_with(FACTORY + OTA, images)
    assert boot_anti_rollback(flash) == ("factory", None, 0)
    assert flash.operations == 0
    del images["factory"]
    assert boot_anti_rollback(flash_with(FACTORY + OTA, images)) == ("ota_0", 1, 1)
    # rule 3 does not exist: given-up entries lead to the search, and nothing is recorded
    flash = flash_with(SLOTS + OTA, ALL, [(1, otadata.INVALID), (2, otadata.ABORTED)])
    assert boot_anti_rollback(flash) == ("ota_0", None, 0)
    assert flash.operations == 0


def test_a_secure_version_beyond_the_fuses_is_not_burnt():
    flash = flash_with(SLOTS + OTA, {"ota_0": app_of(17)}, [(1, otadata.VALID), None])
    assert boot_anti_rollback(flash) == ("ota_0", None, 0)
    flash = flash_with(SLOTS + OTA, {"ota_0": app_of(16)}, [(1, otadata.VALID), None])
    assert boot_anti_rollback(flash) == ("ota_0", 16, 16)
