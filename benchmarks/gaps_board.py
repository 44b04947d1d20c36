"""How long an application waits for its turn while its board updates; for runtime_board.py."""

import asyncio
import time

# The TLS handshake, and set_boot
EXEMPT = ("connecting", "switching", "rebooting")
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


class Gaps:
    """The longest wait in each phase, in units.

    The unit is 1000 products of 256 bits modulo a prime: 131 ms on an ESP32 (chip.md).
    """

    def __init__(self):
        self.phase = "preparing"
        self.longest_us = {}

    async def watch(self):
        last = time.ticks_us()
        while True:
            phase = self.phase
            await asyncio.sleep(0)
            now = time.ticks_us()
            gap = time.ticks_diff(now, last)
            last = now
            if phase == self.phase and gap > self.longest_us.get(phase, 0):
                self.longest_us[phase] = gap

    def hear(self, name, detail):
        self.phase = name

    def show(self):
        unit = min([self._unit_us() for _ in range(15)])
        for phase in self.longest_us:
            if phase not in EXEMPT:
                print("gap", phase, self.longest_us[phase] / unit)

    def _unit_us(self):
        start = time.ticks_us()
        x = b = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
        for _ in range(1000):
            x = (x * b) % PRIME
        return time.ticks_diff(time.ticks_us(), start)
