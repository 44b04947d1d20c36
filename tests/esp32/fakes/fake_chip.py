"""The chip behind the fakes of `esp32`, `machine`, `network`, `esp` and `time`: a virtual board.

A process is a chip from power-on to the next reset. The first fake that is imported powers the
flash file that FAKE_ESP32_FLASH names, its eFuse file beside it; `power_on` takes a board instead.
A reset ends the process with RESET_CODE: whoever started it, starts it again. A reset does not
return and runs no cleanup: after it every access to the chip raises Reset again.
"""

import os

try:
    import utime as time  # MicroPython's own, whatever `time` is
except ImportError:
    import time

from virtual_esp32 import nvs_errors
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import SECTOR_BYTES, NorFlash
from virtual_esp32.nvs_storage import NvsStorage

RESET_CODE = 75
YEAR_2000 = 946684800
_TYPE_DATA = 1
_SUBTYPE_NVS = 2
# What MicroPython erases all of NVS for when it starts: ports/esp32/main.c, boardctrl_startup
_NVS_ERASED_FOR = (-nvs_errors.NO_FREE_PAGES, -nvs_errors.NEW_VERSION_FOUND)


class Reset(SystemExit):
    """The chip resets, or would: its text says why. No `except Exception` stops it."""


class Chip:
    """board: the VirtualBoard, booted. nvs: its NvsStorage, None without the partition. fuses:
    {field: value}, fields of fake_fuses that are otherwise than the board's EFuse has them."""

    def __init__(self, board):
        self.board = board
        self.is_off = False
        self.watchdog_ms = None
        self.fed = 0
        self.fuses = {}
        board.boot()
        self.nvs = self._mount_nvs()

    def _mount_nvs(self):
        found = self.board.find_partitions(_TYPE_DATA, _SUBTYPE_NVS)
        if not found:
            return None
        try:
            return NvsStorage(found[0])
        except OSError as error:
            if error.args[0] not in _NVS_ERASED_FOR:
                return None
        for block in range(found[0].ioctl(4, 0)):
            found[0].ioctl(6, block)
        return NvsStorage(found[0])

    def reset(self):
        self.is_off = True
        _keep_clock()
        raise Reset(RESET_CODE)

    def abort(self, why):
        """ESP-IDF calls abort(): the chip panics and resets."""
        print("abort() was called: %s" % why)
        self.reset()


# What the clock shows, seconds since 1970, and when it was set to that: 2000 when power comes.
_clock = [YEAR_2000, time.time()]
_powered = []
_FLASH = os.getenv("FAKE_ESP32_FLASH")
_KEPT_CLOCK = "%s.clock"  # beside the flash file, from a reset to the start after it


def clock():
    """Seconds since 1970 that the chip's clock shows."""
    return _clock[0] + int(time.time() - _clock[1])


def set_clock(seconds):
    """Set it: seconds since 1970."""
    _clock[:] = [seconds, time.time()]


def _keep_clock():
    """A reset does not stop the clock."""
    if _FLASH:
        with open(_KEPT_CLOCK % _FLASH, "w") as file:
            file.write("%d %d" % (_clock[0], int(_clock[1])))


def _take_kept_clock():
    try:
        with open(_KEPT_CLOCK % _FLASH) as file:
            shown, at = file.read().split()
    except OSError:
        return  # power has just come
    os.remove(_KEPT_CLOCK % _FLASH)
    _clock[:] = [int(shown), int(at)]


def power_on(board):
    """Put this board under the fakes, booted. Returns the Chip."""
    _powered[:] = [Chip(board)]
    return _powered[0]


def chip():
    """The Chip that is on. Raises Reset once it has reset."""
    if not _powered:
        power_on(VirtualBoard(NorFlash.open(_FLASH), EFuse.load(_FLASH)))
    if _powered[0].is_off:
        raise Reset(RESET_CODE)
    return _powered[0]


def require_writable(start, size):
    """ESP-IDF aborts rather than write to the bootloader, the partition table or the running
    image: esp_partition_main_flash_region_safe, CONFIG_SPI_FLASH_DANGEROUS_WRITE_ABORTS."""
    _, _, running, running_size, _, _ = chip().board.running_partition().info()
    if start <= 0x8000 + 0xC00 or (start < running + running_size and start + size > running):
        chip().abort("write to %d bytes at 0x%x, which are protected" % (size, start))


def sectors(start, size):
    """The numbers of the flash sectors in a range."""
    return range(start // SECTOR_BYTES, (start + size) // SECTOR_BYTES)


if _FLASH:
    _take_kept_clock()
