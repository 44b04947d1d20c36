"""Whose signature counts: Secure Boot V1 trailers (ESP32) against configured keys."""

import struct

from .errors import ImageError
from .signature import halves


def verify_v1_steps(trailer, image_digest, public_keys):
    """Verify a Secure Boot V1 trailer (ESP32): ECDSA P-256 by one of the configured keys.

    trailer: 68 bytes, version u32 0 and r, s big endian. image_digest: SHA-256 of everything
    before it. public_keys: 64 bytes each, x and y big endian (espsecure extract-public-key).
    Returns the key that counted. Raises ImageError: `unsigned`, `signature-invalid`.
    Source: ESP-IDF secure_boot_signatures_app.c, esp_secure_boot_verify_ecdsa_signature_block.
    """
    from ota_crypto import p256

    version = struct.unpack("<I", bytes(trailer[:4]))[0]
    if version:
        raise ImageError("unsigned", "signature version 0x%x, Secure Boot V1 has 0" % version)
    r, s = halves(bytes(trailer[4:]))
    for key in public_keys:
        if len(key) != 64:
            raise ValueError("Secure Boot V1 key: expected 64 bytes, got %d" % len(key))
        if (yield from p256.verify_steps(b"\x04" + bytes(key), image_digest, r, s)):
            return key
    raise ImageError(
        "signature-invalid",
        "the Secure Boot V1 signature is by none of %d configured keys" % len(public_keys),
    )
