"""What benchmarks/runtime.py runs under MicroPython: the whole board side on a flash file.

micropython runtime_board.py FLASH PORT AGENT_CA IDENTITY [gaps]

The hardware is as thin as it can be, since on the chip it is C: partitions are ranges of the
file, eFuse is empty, NVS too but for a provisioned board's UDS. Ends when the update asks
for a reset; what the bootloader then does with the file is looked at by the benchmark.
"""

import asyncio
import gc
import os
import struct
import sys
from binascii import crc32

from nvs_board import Nvs

import micropython

SECTOR_BYTES = 4096
# MicroPython's OTA layout: docs/virtual-board.md
OTADATA = 0xD000
OTA_0 = 0x10000


class Partition:
    def __init__(self, board, kind, subtype, offset, size, label):
        self.board = board
        self._info = (kind, subtype, offset, size, label, False)

    def info(self):
        return self._info

    def _seek(self, block, offset):
        self.board.file.seek(self._info[2] + block * SECTOR_BYTES + offset)

    def readblocks(self, block, buffer, offset=0):
        self._seek(block, offset)
        self.board.file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=None):
        self._seek(block, offset or 0)
        self.board.file.write(buffer)

    def ioctl(self, operation, block):
        self._seek(block, 0)
        for _ in range(SECTOR_BYTES // 64):
            self.board.file.write(b"\xff" * 64)

    def get_next_update(self):
        return self.board.slots[1]

    def set_boot(self):
        # seq 2, state NEW: boot.md, "otadata"
        entry = struct.pack("<I20sII", 2, b"\xff" * 20, 0, crc32(b"\x02\0\0\0", 0xFFFFFFFF))
        self.board.otadata.ioctl(6, 0)
        self.board.otadata.writeblocks(0, entry, 0)


class Board:
    chip = "esp32"
    chip_id = 0
    chip_revision = 300
    secure_boot = 0
    key_digests = revoked_digests = ()
    secure_version = 0
    keeps_time = True
    hardware = "the chip"

    def __init__(self, path, identity):
        # Every board has one: what stands in for it is no part of what protocol 2 takes.
        self._nvs = Nvs(is_provisioned=identity == "provisioned")
        self.file = open(path, "r+b")
        size = (self.file.seek(0, 2) // 8 * 3) & ~0xFFFF
        self.slots = [
            Partition(self, 0, 0x10 + i, OTA_0 + i * size, size, "ota_%d" % i) for i in (0, 1)
        ]
        self.otadata = Partition(self, 1, 0, OTADATA, 2 * SECTOR_BYTES, "otadata")
        self.halted = asyncio.Event()

    def mac(self):
        return b"\x24\x0a\xc4\x00\x00\x01"

    def running_partition(self):
        return self.slots[0]

    def find_partitions(self, kind, subtype):
        if kind == 1:
            return [self.otadata]
        return [slot for slot in self.slots if slot.info()[1] == subtype]

    def nvs(self, namespace):
        return self._nvs

    def flash_read(self, offset, buffer):
        self.file.seek(offset)
        self.file.readinto(buffer)

    def random(self, size):
        return os.urandom(size)

    def time(self):
        return 0

    def network_is_up(self):
        return True

    def feed_watchdog(self):
        pass

    def reset(self):
        self.file.flush()
        self.halted.set()


async def main(path, port, agent_ca, identity, mode=None):
    import esp32_akri
    import ota_service

    board = Board(path, identity)
    gaps = None
    if mode == "gaps":
        import gaps_board

        gaps = gaps_board.Gaps()
    settings = {"agent_ca": agent_ca, "identity": identity, "retry_delay_s": 0.1}
    ota_service.setup(board, settings, on_event=gaps.hear if gaps else print)
    esp32_akri.akri_set_update_handler(
        ota_service.ota_request_handler,
        status=ota_service.ota_status_handler,
        cancel=ota_service.ota_cancel_handler,
    )
    esp32_akri.akri_set_info_handler(ota_service.info_handler)
    esp32_akri.akri_set_onboard_handler(ota_service.onboard_request_handler)
    esp32_akri.akri_server_start("127.0.0.1", int(port))
    await asyncio.sleep(0)
    await ota_service.confirm()
    gc.collect()
    print("ready", gc.mem_alloc())
    if gaps:
        watching = asyncio.create_task(gaps.watch())
    await board.halted.wait()
    await esp32_akri.akri_server_end()
    if gaps:
        watching.cancel()
        gaps.show()
    micropython.qstr_info()
    print("reset")


# As an application short of memory would: collect often, so that little is broken up.
gc.threshold(8192)
asyncio.run(main(*sys.argv[1:]))
