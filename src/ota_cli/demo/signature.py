"""The demonstration's own signature, so that it needs no more than the package: `image sign`, which
signs for real boards, runs Espressif's espsecure, and that is in an extra.

Layout: ESP-IDF ROM secure_boot.h (ets_secure_boot_sig_block_t), RSA-3072.
"""

import hashlib
import struct
import zlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

_SECTOR_BYTES = 4096
_KEY_BYTES = 384
_SIGNED_BYTES = 1196  # of a block, before its CRC


def sign(image: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """The image, padded to whole sectors, and a signature sector with one block by this key."""
    padded = image + b"\xff" * (-len(image) % _SECTOR_BYTES)
    fields = _fields(hashlib.sha256(padded).digest(), key)
    block = fields + struct.pack("<I", zlib.crc32(fields)) + bytes(16)
    return padded + block.ljust(_SECTOR_BYTES, b"\xff")


def _fields(digest: bytes, key: rsa.RSAPrivateKey) -> bytes:
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    signature = key.sign(digest, pss, utils.Prehashed(hashes.SHA256()))
    public = key.public_key().public_numbers()
    return struct.pack(
        f"<BBxx32s{_KEY_BYTES}sI{_KEY_BYTES}sI{_KEY_BYTES}s",
        0xE7,
        2,
        digest,
        public.n.to_bytes(_KEY_BYTES, "little"),
        public.e,
        # What the chip's Montgomery multiplier takes with the key
        ((1 << 16 * _KEY_BYTES) % public.n).to_bytes(_KEY_BYTES, "little"),
        -pow(public.n, -1, 1 << 32) % (1 << 32),
        signature[::-1],
    ).ljust(_SIGNED_BYTES, b"\0")
