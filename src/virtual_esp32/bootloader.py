"""The second-stage bootloader: which slot boots, and what it writes to otadata on the way.

Follows ESP-IDF 5.2.2, components/bootloader_support/src/bootloader_utility.c; each rule names
its function. Anti-rollback by eFuse is not built into MicroPython's bootloader, nor into this one.
"""

from esp_image import ImageError, acceptance, readback
from esp_partition import otadata, table

from .errors import VirtualBoardError
from .flash import SECTOR_BYTES

_FACTORY_INDEX = -1
_ENTRY_BYTES = 32


class BootDecision:
    """What a boot came to.

    partition: the partition that boots, or None when no image verifies (the chip resets for ever).
    reason: one line, why the search started where it did.
    skipped: (label, reason) for each image that was tried before and did not verify.
    """

    def __init__(self, partition, reason, skipped):
        self.partition = partition
        self.reason = reason
        self.skipped = skipped


def read_partition_table(flash):
    """The partitions of the flash. Raises VirtualBoardError."""
    try:
        return table.parse(flash.read(table.TABLE_OFFSET, table.TABLE_MAX_BYTES))
    except table.PartitionTableError as error:
        raise VirtualBoardError("partition table at 0x%x: %s" % (table.TABLE_OFFSET, error))


def find_otadata(partitions):
    """The otadata partition, or None."""
    found = table.find(partitions, table.TYPE_DATA, table.SUBTYPE_OTADATA)
    return found[0] if found else None


def read_otadata(flash, partition):
    """The two otadata entries, parsed."""
    return [
        otadata.parse_entry(flash.read(partition.offset + i * SECTOR_BYTES, _ENTRY_BYTES))
        for i in (0, 1)
    ]


def write_otadata(flash, partition, sector, entry):
    """Write one 32-byte entry: erase its sector, write it (write_otadata)."""
    flash.erase_sector(partition.offset // SECTOR_BYTES + sector)
    flash.write(partition.offset + sector * SECTOR_BYTES, entry)


def boot(flash, efuse, rollback=True):
    """Boot once: choose the slot, record in otadata what ESP-IDF records, verify the image.

    rollback: CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE, on in MicroPython's builds.
    """
    partitions = read_partition_table(flash)
    slots = table.ota_slots(partitions)
    selected, reason, initialise = _select(flash, partitions, slots, rollback)
    skipped = []
    for index, partition in _load_order(partitions, slots, selected):
        try:
            verify_image(flash, partition, efuse)
        except ImageError as error:
            skipped.append((partition.label, str(error)))
            continue
        if initialise and index >= 0:
            entry = otadata.build_entry(index + 1, otadata.VALID)
            write_otadata(flash, find_otadata(partitions), 0, entry)
        return BootDecision(partition, reason, skipped)
    return BootDecision(None, reason, skipped)


def _select(flash, partitions, slots, rollback):
    """Index to start at, why, and whether the slot that boots is written to an empty otadata.

    bootloader_utility_get_selected_boot_partition.
    """
    where = find_otadata(partitions)
    factory = table.find(partitions, table.TYPE_APP, table.SUBTYPE_FACTORY)
    if where is None:
        return _FACTORY_INDEX, "no otadata partition: factory", False
    entries = read_otadata(flash, where)
    if rollback:
        entries = _abort_pending(flash, where, entries)
    if not slots or (entries[0].is_invalid and entries[1].is_invalid):
        if factory:
            return _FACTORY_INDEX, "otadata names no slot: factory", False
        empty = all(entry.seq == otadata.SEQ_EMPTY or not entry.crc_ok for entry in entries)
        return 0, "otadata names no slot and there is no factory: first slot", empty
    active = otadata.active_index(entries[0], entries[1])
    if active is None:
        return _FACTORY_INDEX, "otadata is damaged: every slot is tried", False
    entry = entries[active]
    if rollback and entry.state == otadata.NEW:
        pending = otadata.build_entry(entry.seq, otadata.PENDING_VERIFY, entry.label)
        write_otadata(flash, where, active, pending)
    index = otadata.slot_of(entry.seq, len(slots))
    return (
        index,
        "otadata entry %d (seq %d) names %s" % (active, entry.seq, slots[index].label),
        False,
    )


def _abort_pending(flash, where, entries):
    """An image that was booted once and never confirmed is given up (check_anti_rollback's
    sibling at the head of bootloader_utility_get_selected_boot_partition)."""
    result = []
    for sector, entry in enumerate(entries):
        if entry.state == otadata.PENDING_VERIFY:
            aborted = otadata.build_entry(entry.seq, otadata.ABORTED, entry.label)
            write_otadata(flash, where, sector, aborted)
            entry = read_otadata(flash, where)[sector]
        result.append(entry)
    return result


def _load_order(partitions, slots, selected):
    """(index, partition) in the order they are tried: bootloader_utility_load_boot_image."""
    factory = table.find(partitions, table.TYPE_APP, table.SUBTYPE_FACTORY)
    test = table.find(partitions, table.TYPE_APP, table.SUBTYPE_TEST)
    for index in range(selected, _FACTORY_INDEX, -1):
        yield index, slots[index]
    if factory:
        yield _FACTORY_INDEX, factory[0]
    for index in range(selected + 1, len(slots)):
        yield index, slots[index]
    if test:
        yield len(slots), test[0]


def verify_image(flash, partition, efuse):
    """Verify a slot as esp_image_verify does: structure, chip, checksum, SHA-256, and the
    signature where Secure Boot is on. Returns a readback.SlotImage; raises ImageError.
    """

    def read(offset, buffer):
        flash.read_into(partition.offset + offset, buffer)

    if efuse.secure_boot == 2:
        image = readback.verify_slot(
            read, partition.size, trusted=efuse.key_digests, revoked=efuse.revoked_digests
        )
    else:
        image = readback.verify_slot(read, partition.size, unsigned_allowed=True)
    expected = acceptance.Expected(chip_id=efuse.chip_id, chip_revision=efuse.chip_revision)
    acceptance.require_chip(image.header, expected)
    return image
