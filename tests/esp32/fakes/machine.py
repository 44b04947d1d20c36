"""Fake of MicroPython's `machine`: reset, clock, watchdog, MAC and the registers of the fuses.

Sources: ports/esp32/modmachine.c, machine_rtc.c, machine_wdt.c, extmod/machine_mem.c.
"""

import fake_chip
import fake_fuses

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_DAYS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def reset():
    fake_chip.chip().reset()


def unique_id():
    return bytes(fake_chip.chip().board.mac())


def reset_cause():
    return PWRON_RESET


class RTC:
    def datetime(self, *items):
        """Set only: (year, month, day, weekday, hours, minutes, seconds, subseconds)."""
        if len(items) != 1:
            raise NotImplementedError("reading the RTC")
        year, month, day, _, hours, minutes, seconds, _ = items[0]
        days = (year - 2000) * 365 + (year - 1997) // 4 + _DAYS[month - 1] + day - 1
        if month > 2 and year % 4 == 0:
            days += 1
        since_2000 = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        fake_chip.set_clock(fake_chip.YEAR_2000 + since_2000)


class WDT:
    """It does not bite; how often it was fed is in the chip's `fed`."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        fake_chip.chip().watchdog_ms = timeout

    def feed(self):
        fake_chip.chip().fed += 1


class _Memory:
    """32-bit memory. As on a 32-bit chip a register with its highest bit set reads negative."""

    def __getitem__(self, address):
        if address % 4:
            raise ValueError("address %08x is not aligned to 4 bytes" % address)
        chip = fake_chip.chip()
        registers = fake_fuses.registers(chip.board.efuse, chip.fuses)
        if address not in registers:
            raise AssertionError("0x%x is no register of this chip's fuses" % address)
        value = registers[address]
        return value - (1 << 32) if value >> 31 else value


mem32 = _Memory()
