"""A partition of a virtual board, with the methods and error numbers of esp32.Partition.

Block device as MicroPython defines it: readblocks, writeblocks, ioctl, blocks of 4096 bytes.
"""

from esp_image import ImageError
from esp_partition import otadata, table

from . import bootloader
from .flash import SECTOR_BYTES

# ports/esp32/esp32_partition.c and extmod/vfs.h
_IOCTL_INIT = 1
_IOCTL_BLOCK_COUNT = 4
_IOCTL_BLOCK_SIZE = 5
_IOCTL_BLOCK_ERASE = 6
_ESP_ERR_NOT_FOUND = -261  # 0x105, negated
_ESP_ERR_OTA_VALIDATE_FAILED = -5379  # as MicroPython raises it: 0x1503, negated


class VirtualPartition:
    """One partition of a VirtualBoard."""

    def __init__(self, board, entry):
        self._board = board
        self._flash = board.flash
        self._entry = entry

    def info(self):
        """(type, subtype, offset, size, label, encrypted), as esp32.Partition.info."""
        entry = self._entry
        return (entry.type, entry.subtype, entry.offset, entry.size, entry.label, False)

    def readblocks(self, block, buffer, offset=0):
        """Fill `buffer` from a block on."""
        start = self._start(block, offset, len(buffer))
        self._flash.read_into(start, buffer)

    def writeblocks(self, block, buffer, offset=None):
        """Write from a block on. Without an offset whole blocks are erased first; with one the
        write only clears bits."""
        start = self._start(block, offset or 0, len(buffer))
        if offset is None:
            for sector in range(start // SECTOR_BYTES, (start + len(buffer)) // SECTOR_BYTES):
                self._flash.erase_sector(sector)
        self._flash.write(start, buffer)

    def ioctl(self, operation, argument):
        """Block count (4), block size (5), erase one block (6)."""
        if operation == _IOCTL_INIT:
            return 0
        if operation == _IOCTL_BLOCK_COUNT:
            return self._entry.size // SECTOR_BYTES
        if operation == _IOCTL_BLOCK_SIZE:
            return SECTOR_BYTES
        if operation == _IOCTL_BLOCK_ERASE:
            start = self._start(argument, 0, SECTOR_BYTES)
            self._flash.erase_sector(start // SECTOR_BYTES)
            return 0
        return None

    def get_next_update(self):
        """The OTA slot after this one (esp_ota_get_next_update_partition)."""
        slots = self._slots()
        following = 0
        for index, slot in enumerate(slots):
            if slot.offset == self._entry.offset:
                following = (index + 1) % len(slots)
        return VirtualPartition(self._board, slots[following])

    def set_boot(self):
        """Boot from here at the next reset: verifies the image first, as ESP-IDF does.

        esp_ota_set_boot_partition, esp_rewrite_ota_data. Raises OSError(-5379).
        """
        board = self._board
        try:
            bootloader.verify_image(self._flash, self._entry, board.efuse)
        except ImageError:
            raise OSError(_ESP_ERR_OTA_VALIDATE_FAILED, "ESP_ERR_OTA_VALIDATE_FAILED")
        slots = self._slots()
        index = [slot.offset for slot in slots].index(self._entry.offset)
        where = bootloader.find_otadata(board.partitions)
        entries = bootloader.read_otadata(self._flash, where)
        state = otadata.NEW if board.rollback else otadata.UNDEFINED
        sector, entry = otadata.next_entry(entries, index, len(slots), state)
        bootloader.write_otadata(self._flash, where, sector, entry)

    def _slots(self):
        """The OTA slots; ESP-IDF counts them and takes them for ota_0 to ota_(n-1)."""
        try:
            slots = table.ota_slots(self._board.partitions)
        except table.PartitionTableError:
            slots = []
        if not slots:
            raise OSError(_ESP_ERR_NOT_FOUND, "ESP_ERR_NOT_FOUND")
        return slots

    def _start(self, block, offset, size):
        start = block * SECTOR_BYTES + offset
        if block < 0 or offset < 0 or start + size > self._entry.size:
            raise OSError(-258, "ESP_ERR_INVALID_ARG")
        return self._entry.offset + start
