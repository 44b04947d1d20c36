"""Fake of MicroPython's `time` on an ESP32: seconds are counted from 2000, by the chip's clock.

For the unix port, whose own counts from 1970; CPython's `time` cannot be replaced, and need not.
Source: ports/esp32/modtime.c. TLS asks the C library, and so the laptop's clock.
"""

import utime
from utime import *  # noqa: F403

_EPOCH = 946684800


def time():
    import fake_chip

    return fake_chip.clock() - _EPOCH


def time_ns():
    return time() * 1000000000


def gmtime(seconds=None):
    return utime.gmtime((time() if seconds is None else seconds) + _EPOCH)


localtime = gmtime


def mktime(items):
    return utime.mktime(items) - _EPOCH
