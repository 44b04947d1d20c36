"""The second-stage bootloader: which slot boots, and what it writes to otadata on the way.

Follows ESP-IDF 5.2.2, components/bootloader_support; each rule names its function there (in
bootloader_utility.c where no file is named). Left to others: the eFuse sidecar, which the caller
saves (`BootDecision.secure_version`), and starting the application.
"""

import struct

from esp_image import ImageError, acceptance, readback
from esp_image.parser import ImageParser
from esp_partition import otadata, table

from .compat import const
from .errors import VirtualBoardError
from .flash import SECTOR_BYTES

_FACTORY_INDEX = const(-1)
_MAX_SLOTS = const(16)
_MAX_PARTITION_BYTES = const(0x1000000)
_DESCRIPTOR_OFFSET = const(32)
_DESCRIPTOR_MAGIC = const(0xABCD5432)
_STATE_OFFSET = const(24)

# Bits of the secure version's field, CONFIG_BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD's maximum
_SECURE_VERSION_BITS = {"esp32": 32, "esp32c2": 4}
_OTHER_SECURE_VERSION_BITS = const(16)


class BootDecision:
    """What a boot came to.

    partition: the partition that boots, or None when no image verifies (the chip resets for ever).
    reason: one line, why the search started where it did.
    skipped: (label, reason) for each image that was tried before and did not verify.
    secure_version: what eFuse's secure version was raised to, None if it was not.
    """

    def __init__(self, partition, reason, skipped, secure_version=None):
        self.partition = partition
        self.reason = reason
        self.skipped = skipped
        self.secure_version = secure_version


def read_partition_table(flash):
    """The partitions of the flash.

    Raises VirtualBoardError, also for a partition past the flash's end (flash_partitions.c,
    esp_partition_table_verify).
    """
    try:
        partitions = table.parse(flash.read(table.TABLE_OFFSET, table.TABLE_MAX_BYTES))
    except table.PartitionTableError as error:
        raise VirtualBoardError("partition table at 0x%x: %s" % (table.TABLE_OFFSET, error))
    for partition in partitions:
        if partition.end > flash.size:
            raise VirtualBoardError(
                "partition %s ends at 0x%x, the flash at 0x%x"
                % (partition.label, partition.end, flash.size)
            )
    return partitions


def find_otadata(partitions):
    """The otadata partition, or None."""
    found = table.find(partitions, table.TYPE_DATA, table.SUBTYPE_OTADATA)
    return found[0] if found else None


def read_otadata(flash, partition):
    """The two otadata entries, parsed."""
    return [otadata.parse_entry(raw) for raw in _read_entries(flash, partition)]


def write_otadata(flash, partition, sector, entry):
    """Write one 32-byte entry: erase its sector, write it (write_otadata)."""
    flash.erase_sector(partition.offset // SECTOR_BYTES + sector)
    flash.write(partition.offset + sector * SECTOR_BYTES, entry)


def boot(flash, efuse, rollback=True, anti_rollback=False):
    """Boot once: choose the slot, record in otadata what ESP-IDF records, verify the image.

    rollback: CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE, on in MicroPython's builds.
    anti_rollback: CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK, off in MicroPython's builds; raises
    `efuse`'s secure version, which the caller saves.
    Returns a BootDecision. Raises VirtualBoardError for a partition table that cannot be used.
    """
    return _Boot(flash, efuse, rollback, anti_rollback).run()


def verify_image(flash, partition, efuse):
    """Verify a slot as esp_image_verify does (esp_image_format.c, image_load): structure, chip,
    checksum, the appended SHA-256 if there is one, and the signature where Secure Boot is on.

    Stricter than ESP-IDF as `ImageParser` and `signature` are: an app descriptor is required, and
    every signature block present has to be valid. Secure Boot V1's public key is built into the
    bootloader; this one has none, so nothing verifies where eFuse says V1.
    Returns a readback.SlotImage (its image_digest None where no SHA-256 is appended); raises
    ImageError.
    """
    if flash.recall is None:
        return _verify_image(flash, partition, efuse)
    name = "image in %s, Secure Boot %d" % (partition.label, efuse.secure_boot)
    return flash.recall(name, lambda: _verify_image(flash, partition, efuse))


def _verify_image(flash, partition, efuse):
    def read(offset, buffer):
        flash.read_into(partition.offset + offset, buffer)

    if partition.size > _MAX_PARTITION_BYTES:
        raise ImageError("too-large", "slot of %d bytes: expected at most 16 MiB" % partition.size)
    if efuse.secure_boot == 0:
        image = _verify_unsigned(read, partition.size)
    elif efuse.secure_boot == 1:
        image = readback.verify_slot(read, partition.size, v1_keys=())
    else:
        image = readback.verify_slot(
            read, partition.size, trusted=efuse.key_digests, revoked=efuse.revoked_digests
        )
    expected = acceptance.Expected(chip_id=efuse.chip_id, chip_revision=efuse.chip_revision)
    acceptance.require_chip(image.header, expected)
    return image


class _Boot:
    """One run of the bootloader: bootloader_state_t and the options it was built with."""

    def __init__(self, flash, efuse, rollback, anti_rollback):
        self.flash = flash
        self.efuse = efuse
        self.rollback = rollback
        self.anti_rollback = anti_rollback
        self.raised_to = None
        self.reason = None
        self.initialise = False  # ota_has_initial_contents
        partitions = read_partition_table(flash)
        self.otadata = find_otadata(partitions)
        self.factory, self.test, self.slots, self.count = _apps(partitions)

    def run(self):
        """select_partition_number and bootloader_utility_load_boot_image."""
        selected = self._select()
        skipped = []
        for index, partition in self._load_order(selected):
            reason = self._refusal(partition)
            if reason is not None:
                skipped.append((partition.label, reason))
                continue
            if self.initialise and index is not None and index > _FACTORY_INDEX:
                self._record_first_boot(index)
            return BootDecision(partition, self.reason, skipped, self.raised_to)
        return BootDecision(None, self.reason, skipped, self.raised_to)

    def _select(self):
        """Index to start at: bootloader_utility_get_selected_boot_partition."""
        if self.otadata is None:
            self.reason = "no otadata partition: factory"
            return _FACTORY_INDEX
        raw = _read_entries(self.flash, self.otadata)
        if self.rollback:
            self._abort_pending(raw)
        entries = [otadata.parse_entry(entry) for entry in raw]
        blank = all(entry.seq == otadata.SEQ_EMPTY or not entry.crc_ok for entry in entries)
        if self.anti_rollback:
            return self._select_by_secure_version(entries, raw, blank)
        if not self.count or (entries[0].is_invalid and entries[1].is_invalid):
            return self._select_without_otadata(blank)
        active = otadata.active_index(entries[0], entries[1])
        if active is None:
            self.reason = "otadata is damaged: every slot is tried"
            return _FACTORY_INDEX
        return self._select_active(active, entries[active], raw[active])

    def _abort_pending(self, raw):
        """An image that was booted once and never confirmed is given up.

        Only the state changes: the CRC stays as found, right or wrong. What counts afterwards is
        the entry in memory, whether or not flash took it.
        """
        for sector in (0, 1):
            if otadata.parse_entry(raw[sector]).state == otadata.PENDING_VERIFY:
                raw[sector] = _with_state(raw[sector], otadata.ABORTED)
                self._write_otadata(sector, raw[sector])

    def _select_without_otadata(self, blank):
        if self.factory is not None:
            self.reason = "otadata names no slot: factory"
            return _FACTORY_INDEX
        self.initialise = blank
        self.reason = "otadata names no slot and there is no factory: first slot"
        return 0

    def _select_by_secure_version(self, entries, raw, blank):
        """The branches of CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK.

        Without any slot ESP-IDF divides by zero here; this one tries what there is.
        """
        if blank:
            self.initialise = True
            self.reason = "otadata names no slot: every slot of a sufficient secure version"
            return _FACTORY_INDEX
        active = self._active_by_secure_version(entries)
        if active is None:
            self.reason = "no otadata entry names a slot of a sufficient secure version"
            return _FACTORY_INDEX
        index = self._select_active(active, entries[active], raw[active])
        if entries[active].state == otadata.VALID:
            self._raise_secure_version(self.slots[index])
        return index

    def _active_by_secure_version(self, entries):
        """get_active_otadata_with_check_anti_rollback, and bootloader_common_loader.c,
        bootloader_common_select_otadata: the larger seq, of equals the first."""
        active = None
        for sector in (0, 1):
            entry = entries[sector]
            if not entry.is_valid or not self.count:
                continue
            if not self._passes_anti_rollback(self.slots[self._slot_index(entry)]):
                continue
            if active is None or entry.seq > entries[active].seq:
                active = sector
        return active

    def _select_active(self, sector, entry, raw):
        if self.rollback and entry.state == otadata.NEW:
            self._write_otadata(sector, _with_state(raw, otadata.PENDING_VERIFY))
        index = self._slot_index(entry)
        slot = self.slots[index]
        label = slot.label if slot is not None else "slot %d, which is missing" % index
        self.reason = "otadata entry %d (seq %d) names %s" % (sector, entry.seq, label)
        return index

    def _slot_index(self, entry):
        """u32 arithmetic: seq 0 counts as 2**32."""
        return (((entry.seq - 1) & 0xFFFFFFFF) % self.count) % _MAX_SLOTS

    def _load_order(self, selected):
        """(index, partition) in the order they are tried: bootloader_utility_load_boot_image.

        The test app's index is None: it is booted, but never recorded.
        """
        indices = list(range(selected, _FACTORY_INDEX - 1, -1))
        indices += range(selected + 1, min(self.count, _MAX_SLOTS))
        for index in indices:
            partition = self._partition(index)
            if partition is not None and partition.size:
                yield index, partition
        if self.test is not None and self.test.size:
            yield None, self.test

    def _partition(self, index):
        """index_to_partition: a slot's number counts up to the number of slots, gaps included."""
        if index == _FACTORY_INDEX:
            return self.factory
        return self.slots[index] if index < self.count else None

    def _refusal(self, partition):
        """Why the partition does not boot, None if it does: check_anti_rollback and
        try_load_partition."""
        if not self._passes_anti_rollback(partition):
            return "secure version below eFuse's %d, or no app descriptor" % (
                self.efuse.secure_version
            )
        try:
            verify_image(self.flash, partition, self.efuse)
        except ImageError as error:
            return str(error)
        return None

    def _passes_anti_rollback(self, partition):
        """check_anti_rollback: reads the app descriptor before anything has been verified."""
        if not self.anti_rollback:
            return True
        version = _secure_version(self.flash, partition)
        return version is not None and version >= self.efuse.secure_version

    def _record_first_boot(self, index):
        """set_actual_ota_seq."""
        self._write_otadata(0, otadata.build_entry(index + 1, otadata.VALID))
        if self.anti_rollback:
            self._raise_secure_version(self.slots[index])

    def _raise_secure_version(self, partition):
        """update_anti_rollback; esp_efuse_fields.c, esp_efuse_update_secure_version: a version
        that the field has not enough bits for is not burnt."""
        version = _secure_version(self.flash, partition)
        bits = _SECURE_VERSION_BITS.get(self.efuse.chip, _OTHER_SECURE_VERSION_BITS)
        if version is not None and self.efuse.secure_version < version <= bits:
            self.efuse.raise_secure_version(version)
            self.raised_to = version

    def _write_otadata(self, sector, raw):
        """write_otadata: an error is logged, and booting goes on."""
        try:
            write_otadata(self.flash, self.otadata, sector, raw)
        except OSError:
            pass


def _apps(partitions):
    """Factory, test, slots by number, how many rows are slots: the app rows of
    bootloader_utility_load_partition_table. Of two rows for the same place the last counts."""
    factory = test = None
    slots = [None] * _MAX_SLOTS
    count = 0
    for partition in table.find(partitions, table.TYPE_APP):
        if partition.subtype == table.SUBTYPE_FACTORY:
            factory = partition
        elif partition.subtype == table.SUBTYPE_TEST:
            test = partition
        elif table.SUBTYPE_OTA_0 <= partition.subtype <= table.SUBTYPE_OTA_15:
            slots[partition.subtype - table.SUBTYPE_OTA_0] = partition
            count += 1
    return factory, test, slots, count


def _read_entries(flash, partition):
    """bootloader_common_read_otadata: 32 bytes at the start of each of the first two sectors."""
    return [
        bytes(flash.read(partition.offset + sector * SECTOR_BYTES, otadata.ENTRY_BYTES))
        for sector in (0, 1)
    ]


def _with_state(raw, state):
    return raw[:_STATE_OFFSET] + struct.pack("<I", state) + raw[_STATE_OFFSET + 4 :]


def _secure_version(flash, partition):
    """bootloader_common_get_partition_description: None without an app descriptor."""
    if partition is None or partition.size < _DESCRIPTOR_OFFSET + 8:
        return None
    raw = flash.read(partition.offset + _DESCRIPTOR_OFFSET, 8)
    magic, version = struct.unpack("<II", raw)
    return version if magic == _DESCRIPTOR_MAGIC else None


def _verify_unsigned(read, slot_bytes):
    """Without Secure Boot: no signature is looked at, and an image without an appended SHA-256
    has its checksum alone (process_image_header, verify_simple_hash)."""
    parser = ImageParser(False, slot_bytes, ignore_rest=True)
    view = memoryview(bytearray(SECTOR_BYTES))
    offset = 0
    while offset < slot_bytes and not parser.is_complete:
        chunk = view[: min(SECTOR_BYTES, slot_bytes - offset)]
        read(offset, chunk)
        parser.feed(chunk)
        offset += len(chunk)
    parser.close()
    return readback.SlotImage(parser)
