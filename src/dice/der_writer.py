"""DER (X.690): the few writers that a certificate needs. Tags are those of `der`."""

from ota_crypto.compat import const

_INTEGER = const(0x02)
_SEQUENCE = const(0x30)


def encode(tag, *parts):
    """An element whose contents are the parts put together; up to 64 KiB - 1."""
    contents = b"".join(parts)
    length = len(contents)
    if length < 0x80:
        header = bytes([tag, length])
    elif length < 0x100:
        header = bytes([tag, 0x81, length])
    elif length < 0x10000:
        header = bytes([tag, 0x82, length >> 8, length & 0xFF])
    else:
        raise ValueError("an element of %d bytes is too long" % length)
    return header + contents


def encode_integer(big_endian):
    """A non-negative INTEGER from big-endian bytes, minimal."""
    at = 0
    while at < len(big_endian) - 1 and big_endian[at] == 0:
        at += 1
    contents = big_endian[at:]
    if contents[0] & 0x80:
        contents = b"\x00" + contents
    return encode(_INTEGER, contents)


def encode_ecdsa_signature(r, s):
    """Ecdsa-Sig-Value (RFC 3279, 2.2.3) of two integers below 2**256."""
    return encode(
        _SEQUENCE, encode_integer(r.to_bytes(32, "big")), encode_integer(s.to_bytes(32, "big"))
    )
