"""HMAC (RFC 2104) over the hashes of this package."""

from .hashes import by_name, sizes
from .memory import wipe


class Hmac:
    """One key, many messages; the hashed pads are kept where the hash objects can be copied."""

    def __init__(self, key, hash_name):
        """key: any length. hash_name: `sha256`, `sha384` or `sha512`, else ValueError."""
        self._new = by_name(hash_name)
        block_bytes = sizes(hash_name)[1]
        if len(key) > block_bytes:
            key = self._new(key).digest()
        self._key = bytearray(key)
        self._block_bytes = block_bytes
        self._inner = self._keyed(0x36)
        self._outer = self._keyed(0x5C)
        self._copies = hasattr(self._inner, "copy")

    def _keyed(self, value):
        """A hash object that has been fed the key, padded with zeros, XOR this byte."""
        pad = bytearray(bytes([value]) * self._block_bytes)
        for at, byte in enumerate(self._key):
            pad[at] = byte ^ value
        keyed = self._new(pad)
        wipe(pad)
        return keyed

    def digest(self, *parts):
        """The code of the parts put together."""
        if self._copies:
            inner, outer = self._inner.copy(), self._outer.copy()
        else:
            inner, outer = self._keyed(0x36), self._keyed(0x5C)
        for part in parts:
            inner.update(part)
        outer.update(inner.digest())
        return outer.digest()

    def close(self):
        """Overwrite the key; the object is of no use afterwards."""
        wipe(self._key)
        self._inner = self._outer = None
        self._copies = False


def digest(key, message, hash_name):
    """HMAC of a message. Raises ValueError for an unknown hash."""
    mac = Hmac(key, hash_name)
    try:
        return mac.digest(message)
    finally:
        mac.close()


def is_equal(left, right):
    """Compare two codes without stopping at the first difference."""
    difference = len(left) ^ len(right)
    for a, b in zip(left, right):
        difference |= a ^ b
    return difference == 0
