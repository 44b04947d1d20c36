"""Fake of MicroPython's `esp`: the whole flash. Source: ports/esp32/modesp.c."""

import errno

import fake_chip


def flash_size():
    return fake_chip.chip().board.flash.size


def flash_read(byte_offset, length_or_buffer):
    flash = fake_chip.chip().board.flash
    if not isinstance(length_or_buffer, (bytearray, memoryview)):
        raise TypeError("object with buffer protocol required")
    if not 0 <= byte_offset <= flash.size - len(length_or_buffer):
        raise OSError(errno.EIO)
    flash.read_into(byte_offset, length_or_buffer)


def osdebug(*_):
    pass
