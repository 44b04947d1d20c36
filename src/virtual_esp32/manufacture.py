"""Makes the flash file of a new virtual board: partition table and first firmware."""

from esp_image import readback
from esp_partition import table

from .errors import VirtualBoardError

_FIRST_SLOT = 0x10000
_SLOT_ALIGNMENT = 0x10000


def partition_layout(flash_bytes):
    """MicroPython's OTA layout (ports/esp32/partitions-4MiB-ota.csv) for a flash of this size.

    Each slot takes 3/8 of the flash, which gives that file's numbers for 4 MB; vfs has the rest.
    """
    slot = flash_bytes * 3 // 8 // _SLOT_ALIGNMENT * _SLOT_ALIGNMENT
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


def flash_content(flash_bytes, app):
    """The content of a new board's flash: table, erased otadata, `app` in the first slot.

    Raises VirtualBoardError if the app does not fit, ImageError if it is not an image.
    """
    partitions = partition_layout(flash_bytes)
    content = bytearray(b"\xff" * flash_bytes)
    rows = table.build(partitions)
    content[table.TABLE_OFFSET : table.TABLE_OFFSET + len(rows)] = rows
    slot = table.ota_slots(partitions)[0]
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
