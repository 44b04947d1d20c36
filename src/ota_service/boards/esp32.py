"""The board object of an ESP32 under stock MicroPython, 1.24 or newer.

Each method is one call of MicroPython's `esp32`, `machine`, `network` or `esp`, as their C sources
in ports/esp32 have it; what is read from fuses stands in `efuse`.
"""

import os
import time

import esp
import esp32
import machine

from ..compat import const, let_go

_TYPE_DATA = const(1)
_SUBTYPE_NVS = const(2)
_CHIP_ID_OFFSET = const(12)
_YEAR_2000 = const(946684800)
# What MicroPython counts its seconds from, in seconds since 1970: here 2000 up to now.
_EPOCH = 0 if time.gmtime(0)[0] == 1970 else _YEAR_2000


class Board:
    """The ESP32 that this runs on; every object of it stands for the same hardware.

    watchdog: a machine.WDT, fed while an update runs; None: there is none. interface: a network
    interface with `isconnected`, None: the Wi-Fi station, which takes its memory when it is first
    asked for.

    Of fuses, read once: chip, name as `esp32s3`, or `unknown`, which counts as Secure Boot off,
    with no digests. chip_id: as in image headers. chip_revision: major * 100 + minor, None if
    unknown. secure_boot: 0 off, 1 Secure Boot V1, 2 Secure Boot V2. key_digests: the key digests
    of Secure Boot V2, revoked ones included; revoked_digests: those. secure_version.
    """

    hardware = esp32
    keeps_time = False

    def __init__(self, watchdog=None, interface=None):
        from . import efuse

        self.ntp_answered_at = None
        self._watchdog = watchdog
        self._interface = interface
        self._namespaces = {}
        # The bootloader starts no image of another chip: bootloader_common_loader.c,
        # bootloader_common_check_chip_validity.
        chip_id = bytearray(2)
        self.running_partition().readblocks(0, chip_id, _CHIP_ID_OFFSET)
        self.chip_id = int.from_bytes(chip_id, "little")
        fuses = efuse.read(self.chip_id)
        self.chip, self.chip_revision, self.secure_boot = fuses[:3]
        self.key_digests, self.revoked_digests, self.secure_version = fuses[3:]
        efuse = None
        let_go("ota_service.boards.efuse")

    @property
    def flash_bytes(self):
        """Size of the whole flash."""
        return esp.flash_size()

    def flash_read(self, offset, buffer):
        """Fill `buffer` from the whole flash, encrypted as it stands there. Raises OSError."""
        esp.flash_read(offset, buffer)

    def mac(self):
        """The factory MAC in eFuse, 6 bytes: esp_efuse_mac_get_default."""
        return machine.unique_id()

    def running_partition(self):
        """The partition that runs."""
        return esp32.Partition(esp32.Partition.RUNNING)

    def find_partitions(self, kind, subtype):
        """A list of partitions, in the table's order."""
        return esp32.Partition.find(kind, subtype)

    def nvs(self, namespace):
        """The NVS namespace, None without an nvs partition. Raises OSError.

        Each is opened once: esp32.NVS never gives its handle back.
        """
        if namespace not in self._namespaces:
            if not self.find_partitions(_TYPE_DATA, _SUBTYPE_NVS):
                return None
            self._namespaces[namespace] = esp32.NVS(namespace)
        return self._namespaces[namespace]

    def random(self, size):
        """`size` bytes of esp_random, which are random while the radio runs (ESP-IDF, "Random
        Number Generation")."""
        return os.urandom(size)

    def time(self):
        """Seconds since 1970, UTC."""
        return int(time.time()) + _EPOCH

    def set_time(self, seconds):
        """Set the clock: seconds since 1970, UTC."""
        now = time.gmtime(seconds - _EPOCH)
        machine.RTC().datetime((now[0], now[1], now[2], now[6], now[3], now[4], now[5], 0))

    def feed_watchdog(self):
        """The application is alive."""
        if self._watchdog is not None:
            self._watchdog.feed()

    def mark_app_valid_cancel_rollback(self):
        """The running image is good: it stays. Raises OSError."""
        esp32.Partition.mark_app_valid_cancel_rollback()

    def network_is_up(self):
        """Whether the network interface is connected."""
        if self._interface is None:
            import network

            self._interface = network.WLAN(network.STA_IF)
        return self._interface.isconnected()

    def radio_is_on(self):
        """Whether Wi-Fi is active, whatever network is used: without it `random` is not (ESP-IDF,
        "Random Number Generation")."""
        import network

        return network.WLAN(network.STA_IF).active()

    def reset(self):
        """Reset the chip; does not return."""
        machine.reset()
