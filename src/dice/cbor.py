"""Deterministic CBOR (RFC 8949, 4.2.1), as far as evidence needs it.

Integers, byte and text strings, arrays, maps, tags. A board only writes it; reading is
`cbor_reader`'s.
"""

from ota_crypto.compat import const

_UNSIGNED = const(0)
_NEGATIVE = const(1)
_BYTES = const(2)
_TEXT = const(3)
_ARRAY = const(4)
_MAP = const(5)
_TAG = const(6)


class Tagged:
    """A value with a tag number before it (RFC 8949, 3.4)."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value


def encode(value):
    """The bytes of an int, bytes, str, list, dict or Tagged. Raises TypeError for others."""
    if isinstance(value, bool):
        raise TypeError("no CBOR for %r here" % type(value))
    if isinstance(value, int):
        return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    if isinstance(value, (bytes, bytearray)):
        return _head(_BYTES, len(value)) + bytes(value)
    if isinstance(value, str):
        data = value.encode()
        return _head(_TEXT, len(data)) + data
    if isinstance(value, (list, tuple)):
        return _head(_ARRAY, len(value)) + b"".join([encode(item) for item in value])
    if isinstance(value, dict):
        pairs = sorted([(encode(key), encode(item)) for key, item in value.items()])
        return _head(_MAP, len(pairs)) + b"".join([key + item for key, item in pairs])
    if isinstance(value, Tagged):
        return _head(_TAG, value.tag) + encode(value.value)
    raise TypeError("no CBOR for %r here" % type(value))


def _head(major, argument):
    """Initial byte and argument in the shortest form (RFC 8949, 3)."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for size in (0, 1, 2, 3):
        if argument < 1 << (8 << size):
            return bytes([major << 5 | 24 + size]) + argument.to_bytes(1 << size, "big")
    raise ValueError("a number of more than 64 bits")


def decode(data):
    """The value that these bytes encode; see cbor_reader.decode."""
    from . import cbor_reader

    return cbor_reader.decode(data)
