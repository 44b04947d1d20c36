"""Differences between CPython and MicroPython for this package, chosen by trying the feature."""

try:
    from micropython import const
except ImportError:

    def const(value):
        return value
