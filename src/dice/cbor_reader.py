"""Reading deterministic CBOR (RFC 8949, 4.2.1), as far as evidence needs it.

What is not the one deterministic encoding is refused: indefinite lengths, longer numbers than
needed, map keys out of order or twice.
"""

from ota_crypto.compat import const

from .cbor import Tagged
from .errors import EvidenceError

_UNSIGNED = const(0)
_NEGATIVE = const(1)
_BYTES = const(2)
_TEXT = const(3)
_ARRAY = const(4)
_MAP = const(5)
_TAG = const(6)
# evidence nests three deep
_MAXIMUM_DEPTH = const(4)


def decode(data):
    """The value that these bytes encode, all of them. Raises EvidenceError."""
    value, at = _decode(bytes(data), 0, 0)
    if at != len(data):
        raise EvidenceError("CBOR: %d bytes more than expected" % (len(data) - at))
    return value


def _decode(data, at, depth):
    """(value, offset behind it)."""
    if depth > _MAXIMUM_DEPTH:
        raise EvidenceError("CBOR: nested deeper than %d" % _MAXIMUM_DEPTH)
    major, argument, at = _read_head(data, at)
    if major == _UNSIGNED:
        return argument, at
    if major == _NEGATIVE:
        return -1 - argument, at
    if major in (_BYTES, _TEXT):
        return _read_string(data, at, argument, major == _TEXT)
    if major == _ARRAY:
        items = []
        for _ in range(argument):
            item, at = _decode(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == _MAP:
        return _read_map(data, at, argument, depth)
    if major == _TAG:
        value, at = _decode(data, at, depth + 1)
        return Tagged(argument, value), at
    raise EvidenceError("CBOR: simple values and floats have no place here")


def _read_head(data, at):
    """(major type, argument, offset behind them)."""
    if at >= len(data):
        raise EvidenceError("CBOR: ends too early")
    major, short = data[at] >> 5, data[at] & 31
    at += 1
    if short < 24:
        return major, short, at
    if short > 27:
        raise EvidenceError("CBOR: indefinite or reserved length")
    size = 1 << (short - 24)
    if len(data) - at < size:
        raise EvidenceError("CBOR: ends too early")
    argument = int.from_bytes(data[at : at + size], "big")
    if argument < 24 or (size > 1 and argument < 1 << (4 * size)):
        raise EvidenceError("CBOR: %d is not encoded in the shortest form" % argument)
    return major, argument, at + size


def _read_string(data, at, length, is_text):
    if len(data) - at < length:
        raise EvidenceError("CBOR: string of %d bytes, %d are left" % (length, len(data) - at))
    value = data[at : at + length]
    if is_text:
        try:
            value = value.decode()
        except ValueError:
            raise EvidenceError("CBOR: text is not UTF-8")
    return value, at + length


def _read_map(data, at, count, depth):
    """Keys are integers or strings; each encoded key must come after the one before it."""
    result = {}
    before = b""
    for _ in range(count):
        start = at
        key, at = _decode(data, at, depth + 1)
        if not isinstance(key, (int, str, bytes)):
            raise EvidenceError("CBOR: a map key that is no number or string")
        if data[start:at] <= before:
            raise EvidenceError("CBOR: map keys out of order or twice")
        before = data[start:at]
        result[key], at = _decode(data, at, depth + 1)
    return result, at
