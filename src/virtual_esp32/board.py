"""The board object of a virtual ESP32: what `ota_service` takes for the hardware."""

import asyncio
import os
import time

from esp_partition import otadata, table
from ota_service.descriptor import read_descriptor

from . import bootloader
from .errors import VirtualBoardError
from .nvs import NVS
from .nvs_storage import NvsStorage
from .partition import VirtualPartition

# For the end of what was cancelled.
_LOOK_AGAIN_S = 0.001


class VirtualBoard:
    """A board on a NorFlash and an EFuse. `boot` comes before anything else.

    rollback, anti_rollback: what its bootloader supports. flash_path: where the fuses are saved
    when the bootloader burns one. watchdog_s: seconds without `feed_watchdog` until it resets,
    None for a board without a watchdog. clock: seconds since 1970 that its clock shows at
    power-on, 946684800 (2000-01-01) on the chip; None for the laptop's clock, which keeps time.
    """

    def __init__(self, flash, efuse, rollback=True, anti_rollback=False, flash_path=None,
                 watchdog_s=None, clock=None):  # fmt: skip
        self.flash = flash
        self.efuse = efuse
        self.rollback = rollback
        self.anti_rollback = anti_rollback
        self.watchdog_s = watchdog_s
        self.keeps_time = clock is None
        self.ntp_answered_at = None
        self.network_up = True
        self._clock_set = (clock, time.time())
        self._flash_path = flash_path
        self._fed = False
        self.partitions = ()
        self.decision = None
        self._nvs = None
        self.reset_requested = False
        self.halted = asyncio.Event()

    def boot(self):
        """Run the bootloader. Returns its BootDecision; raises VirtualBoardError if nothing
        boots (a real chip would reset for ever)."""
        self.reset_requested = False
        self.halted = asyncio.Event()
        self.ntp_answered_at = None
        self._nvs = None
        self.partitions = bootloader.read_partition_table(self.flash)
        self.decision = bootloader.boot(self.flash, self.efuse, self.rollback, self.anti_rollback)
        if self.decision.secure_version is not None:
            self._save_fuses()
        if self.decision.partition is None:
            tried = "; ".join("%s: %s" % item for item in self.decision.skipped)
            raise VirtualBoardError("no bootable image (%s)" % (tried or "no app partition"))
        return self.decision

    @property
    def hardware(self):
        """What stands for the hardware: the same object for every board object of one chip."""
        return self.flash

    @property
    def chip(self):
        """Chip name, as `esp32s3`."""
        return self.efuse.chip

    @property
    def chip_id(self):
        """Chip id of image headers."""
        return self.efuse.chip_id

    @property
    def chip_revision(self):
        """Major * 100 + minor."""
        return self.efuse.chip_revision

    @property
    def secure_boot(self):
        """0 off, 1 Secure Boot V1, 2 Secure Boot V2."""
        return self.efuse.secure_boot

    @property
    def key_digests(self):
        """Secure Boot key digests burnt in eFuse, revoked ones included."""
        return self.efuse.key_digests

    @property
    def revoked_digests(self):
        """Those of key_digests that are revoked."""
        return self.efuse.revoked_digests

    @property
    def secure_version(self):
        """eFuse secure version."""
        return self.efuse.secure_version

    @property
    def flash_bytes(self):
        """Size of the whole flash."""
        return self.flash.size

    def flash_read(self, offset, buffer):
        """Fill `buffer` from the whole flash, as MicroPython's esp.flash_read."""
        self.flash.read_into(offset, buffer)

    def mac(self):
        """The Wi-Fi station's MAC, 6 bytes."""
        return self.efuse.mac

    def running_partition(self):
        """Partition(Partition.RUNNING)."""
        return VirtualPartition(self, self.decision.partition)

    def find_partitions(self, kind, subtype):
        """Partition.find(kind, subtype)."""
        return [VirtualPartition(self, e) for e in table.find(self.partitions, kind, subtype)]

    def nvs(self, namespace):
        """esp32.NVS(namespace); None on a board without an nvs partition. Raises OSError."""
        if self._nvs is None:
            found = self.find_partitions(table.TYPE_DATA, table.SUBTYPE_NVS)
            if not found:
                return None
            self._nvs = NvsStorage(found[0])
        return NVS(self._nvs, namespace)

    def mark_app_valid_cancel_rollback(self):
        """The running image is good (esp_ota_mark_app_valid_cancel_rollback); with anti-rollback
        its secure version is burnt (esp_ota_set_anti_rollback)."""
        where = bootloader.find_otadata(self.partitions)
        if where is None:
            return
        sector, entry = otadata.confirm(bootloader.read_otadata(self.flash, where))
        bootloader.write_otadata(self.flash, where, sector, entry)
        running = read_descriptor(self.running_partition())
        if self.anti_rollback and running is not None:
            self.efuse.raise_secure_version(running.secure_version)
            self._save_fuses()

    def _save_fuses(self):
        if self._flash_path is not None:
            self.efuse.save(self._flash_path)

    def random(self, size):
        """`size` random bytes, os.urandom on the chip too."""
        return os.urandom(size)

    def time(self):
        """Seconds since 1970, UTC. A reset does not stop the clock."""
        if self.keeps_time:
            return int(time.time())
        shown, at = self._clock_set
        return shown + int(time.time() - at)

    def set_time(self, seconds):
        """Set the clock: seconds since 1970, UTC. Nothing on a board that keeps time."""
        self._clock_set = (seconds, time.time())

    def radio_is_on(self):
        """Whether Wi-Fi is active; here that is the network."""
        return self.network_up

    def network_is_up(self):
        """Whether Wi-Fi is connected, as WLAN.isconnected. Tests pull the plug with `network_up`;
        what it stood for, sockets, is theirs to break too."""
        return self.network_up

    def feed_watchdog(self):
        """machine.WDT.feed: the application is alive."""
        self._fed = True

    async def watch(self):
        """The watchdog: resets the board when it was not fed in time."""
        while not self.reset_requested:
            self._fed = False
            await asyncio.sleep(self.watchdog_s)
            if not self._fed:
                self.reset()

    def reset(self):
        """Ask for a reset. On the chip this does not return; here whoever powers the board
        (`power_on`) ends the application and boots again."""
        self.reset_requested = True
        self.halted.set()


async def power_on(board, application):
    """Boot, run `application(board)`, boot again after each reset; ends when the application
    does. Raises what the application raises, VirtualBoardError if nothing boots."""
    while True:
        board.boot()
        task = asyncio.create_task(_run(board, application))
        watchdog = asyncio.create_task(board.watch()) if board.watchdog_s is not None else None
        try:
            await board.halted.wait()
            if not board.reset_requested:
                return await task
        finally:
            if watchdog is not None:
                await _end(watchdog)
            await _end(task)


async def _run(board, application):
    try:
        return await application(board)
    finally:
        board.halted.set()


async def _end(task):
    """Cancel it and wait for its end, which no cancellation of who waits here shortens; that one
    would be lost if the task itself were awaited: asyncio hands it on."""
    task.cancel()
    cancelled = None
    while not task.done():
        try:
            await asyncio.sleep(_LOOK_AGAIN_S)
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        await task
    except asyncio.CancelledError:
        pass
    if cancelled is not None:
        raise cancelled
