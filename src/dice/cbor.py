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
    encoded = bytearray()
    _append(encoded, value)
    return bytes(encoded)


def _append(encoded, value):
    """Encode a value behind what has been: one buffer, since evidence holds a certificate."""
    if isinstance(value, int) and not isinstance(value, bool):
        encoded.extend(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif isinstance(value, (bytes, bytearray)):
        encoded.extend(_head(_BYTES, len(value)))
        encoded.extend(value)
    elif isinstance(value, str):
        data = value.encode()
        encoded.extend(_head(_TEXT, len(data)))
        encoded.extend(data)
    elif isinstance(value, (list, tuple)):
        encoded.extend(_head(_ARRAY, len(value)))
        for item in value:
            _append(encoded, item)
    elif isinstance(value, dict):
        items = {encode(key): item for key, item in value.items()}
        encoded.extend(_head(_MAP, len(items)))
        for key in sorted(items):
            encoded.extend(key)
            _append(encoded, items[key])
    elif isinstance(value, Tagged):
        encoded.extend(_head(_TAG, value.tag))
        _append(encoded, value.value)
    else:
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
