"""MicroPython's milliseconds that may wrap, for CPython, where they do not."""

import time


def ticks_ms():
    """Milliseconds from some moment on."""
    return int(time.monotonic() * 1000)


def ticks_add(ticks, delta):
    """`delta` milliseconds after `ticks`."""
    return ticks + delta


def ticks_diff(later, earlier):
    """Milliseconds between two moments."""
    return later - earlier
