"""Images signed with ECDSA P-256 by our own code, so that both runtimes can make them."""

import binascii
import os

from esp_image import build
from ota_crypto import p256, sha256

_CURVE_P256 = 2
# Private keys, made anew for every run; 31 bytes are always below the group's order.
OWNER = int.from_bytes(os.urandom(31), "big") + 1
STRANGER = int.from_bytes(os.urandom(31), "big") + 1


def signed_app(
    version, private=OWNER, chip="esp32c6", project="thermo", secure_version=0, **options
):
    """A small application image with one Secure Boot V2 block (version 3).

    options: those of build_app.
    """
    image = build.build_app(version, project, chip=chip, secure_version=secure_version, **options)
    return sign(image, private)


def sign(image, private):
    """Pad the image and append a signature sector."""
    padded = image + b"\xff" * (-len(image) % 4096)
    digest = sha256(padded).digest()
    public = p256.public_key(private)
    r, s = p256.sign(private, digest)
    block = bytearray(1216)
    block[:4] = b"\xe7\x03\x00\x00"
    block[4:36] = digest
    block[36] = _CURVE_P256
    for start, number in (
        (37, int.from_bytes(public[1:33], "big")),
        (69, int.from_bytes(public[33:65], "big")),
        (101, r),
        (133, s),
    ):
        block[start : start + 32] = number.to_bytes(32, "little")
    block[1196:1200] = binascii.crc32(block[:1196]).to_bytes(4, "little")
    return padded + bytes(block) + b"\xff" * (4096 - len(block))
