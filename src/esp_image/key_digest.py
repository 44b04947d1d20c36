"""Key digests as eFuse holds them, from a key's numbers: for whoever makes or configures keys.

A board never computes one: it hashes the key as it stands in a signature block.
"""

import struct

from ota_crypto.compat import const

from . import chips
from .compat import sha256

_RSA_BYTES = const(384)


def rsa_key_digest(n, e):
    """Key digest of an RSA-3072 key as eFuse holds it: SHA-256 over n, e, rinv, m', 32 bytes.

    rinv = 2**6144 mod n, m' = -1/n mod 2**32; little endian, 384, 4, 384 and 4 bytes.
    Source: espsecure digest-sbv2-public-key.
    """
    if n >> 3071 != 1 or not n & 1:
        raise ValueError("RSA key: expected an odd modulus of 3072 bits")
    inverse = 1
    for _ in range(5):
        # Newton's iteration doubles the number of correct low bits: 1, 2, 4, ... 32.
        inverse = inverse * (2 - (n & 0xFFFFFFFF) * inverse) & 0xFFFFFFFF
    key = n.to_bytes(_RSA_BYTES, "little") + struct.pack("<I", e)
    key += ((1 << 6144) % n).to_bytes(_RSA_BYTES, "little")
    return sha256(key + struct.pack("<I", -inverse & 0xFFFFFFFF)).digest()


def ecdsa_key_digest(scheme, x, y):
    """Key digest of an ECDSA key: SHA-256 over curve id and point, little endian, 32 bytes.

    scheme: chips.ECDSA_P192, ECDSA_P256 or ECDSA_P384. P-192 is zero padded to 64 bytes.
    Source: espsecure digest-sbv2-public-key.
    """
    curve = {chips.ECDSA_P192: 1, chips.ECDSA_P256: 2, chips.ECDSA_P384: 3}[scheme]
    size = (24, 32, 48)[curve - 1]
    point = x.to_bytes(size, "little") + y.to_bytes(size, "little")
    if curve == 1:
        point += b"\x00" * 16
    return sha256(bytes((curve,)) + point).digest()
