"""Makes the flash file of a new virtual board: partition table and first firmware."""

from esp_image import readback
from esp_partition import table

from .errors import VirtualBoardError

_FIRST_SLOT = 0x10000
_SLOT_ALIGNMENT = 0x10000
_MOST_SLOT_BYTES = 0x1000000  # what a bootloader takes at most


def partition_layout(flash_bytes):
    """MicroPython's OTA layout (ports/esp32/partitions-4MiB-ota.csv) for a flash of this size.

    Each slot takes 3/8 of the flash, which gives that file's numbers for 4 MB, and at most 16 MB;
    vfs has the rest.
    """
    slot = flash_bytes * 3 // 8 // _SLOT_ALIGNMENT * _SLOT_ALIGNMENT
    slot = min(slot, _MOST_SLOT_BYTES)
    vfs = _FIRST_SLOT + 2 * slot
    if slot == 0 or vfs >= flash_bytes:
        raise VirtualBoardError("flash of %d bytes: too small for two slots" % flash_bytes)
    return table.parse_csv(
        "nvs,data,nvs,0x9000,0x4000\n"
        "otadata,data,ota,0xd000,0x2000\n"
        "phy_init,data,phy,0xf000,0x1000\n"
        "ota_0,app,ota_0,0x%x,0x%x\n"
        "ota_1,app,ota_1,0x%x,0x%x\n"
        "vfs,data,fat,0x%x,0x%x\n"
        % (_FIRST_SLOT, slot, _FIRST_SLOT + slot, slot, vfs, flash_bytes - vfs)
    )


def flash_content(flash_bytes, app, partitions=None, bootloader=None, bootloader_offset=0x1000):
    """The content of a new board's flash: table, erased otadata, `app` where it boots first.

    partitions: MicroPython's OTA layout unless given. bootloader: a second-stage bootloader image
    for `bootloader_offset`, so that the file can be flashed as it is.
    Raises VirtualBoardError if something does not fit, ImageError if the app is not an image.
    """
    if partitions is None:
        partitions = partition_layout(flash_bytes)
    content = bytearray(b"\xff" * flash_bytes)
    last = max(partitions, key=lambda partition: partition.end)
    if last.end > flash_bytes:
        raise VirtualBoardError(
            "partition %s ends at 0x%x, the flash at 0x%x" % (last.label, last.end, flash_bytes)
        )
    if bootloader is not None:
        room = table.TABLE_OFFSET - bootloader_offset
        if len(bootloader) > room:
            raise VirtualBoardError("bootloader of %d bytes: room for %d" % (len(bootloader), room))
        content[bootloader_offset : bootloader_offset + len(bootloader)] = bootloader
    rows = table.build(partitions)
    content[table.TABLE_OFFSET : table.TABLE_OFFSET + len(rows)] = rows
    slot = first_app_partition(partitions)
    if len(app) > slot.size:
        raise VirtualBoardError(
            "app of %d bytes: slot %s holds %d" % (len(app), slot.label, slot.size)
        )
    content[slot.offset : slot.offset + len(app)] = app

    def read(offset, buffer):
        start = slot.offset + offset
        buffer[:] = content[start : start + len(buffer)]

    readback.verify_slot(read, slot.size, unsigned_allowed=True)
    return content


def first_app_partition(partitions):
    """Where a new board boots from: factory, else the first OTA slot."""
    found = table.find(partitions, table.TYPE_APP, table.SUBTYPE_FACTORY)
    found = found or table.ota_slots(partitions)
    if not found:
        raise VirtualBoardError("partition table: neither a factory nor an OTA slot")
    return found[0]
