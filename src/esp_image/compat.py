"""Differences between CPython and MicroPython, by feature: constants, hashes, the checksum."""

import hashlib

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


sha256 = hashlib.sha256
sha384 = getattr(hashlib, "sha384", None)


class _Plain:
    pass


def plain(found):
    """The object itself; where memory is scarce, which is where SHA-384 is missing, its attributes
    alone: an instance keeps the code of its class and module."""
    if sha384 is not None:
        return found
    copy = _Plain()
    for name, value in found.__dict__.items():
        setattr(copy, name, value)
    return copy


def _xor_folded(data, start, size, seed):
    """xor_plain by folding one long integer: CPython's fast path."""
    value = int.from_bytes(memoryview(data)[start : start + size], "little")
    while size > 1:
        half = (size + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        size = half
    return value ^ seed


def _choose_xor():
    try:
        from .checksum_viper import xor_viper
    except (ImportError, SyntaxError, AttributeError):
        # CPython, which hashes more than a board does, or a port without native code: there a
        # loop that does not allocate is better than long integers.
        if sha384 is not None:
            return _xor_folded
        from .checksum import xor_plain

        return xor_plain
    return xor_viper


xor_bytes = _choose_xor()


def ecdsa_host():
    """The module that verifies ECDSA P-192 and P-384, None where `cryptography` is missing."""
    try:
        from . import ecdsa_host as module
    except ImportError:
        return None
    return module
