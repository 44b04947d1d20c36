"""Minimal valid application images, made here so that the agent's tests need no file."""

import hashlib
import struct
from functools import cache, reduce
from typing import Any

from esp_image import build
from tests.esp_image import signing

_ESP32_DROM = 0x3F400020


@cache
def key(name: str = "owner") -> Any:
    """A P-256 signing key that goes by this name."""
    return signing.make_key("p256")


def signed_image(*, signer: str = "owner", **fields: Any) -> bytes:
    """application_image with a signature sector."""
    return signing.sign(application_image(**fields), key(signer))


def application_image(
    *, size: int = 60_000, version: str = "2.0.0", project: str = "thermo"
) -> bytes:
    """One segment of about size bytes for an ESP32, checksum and SHA-256 valid, unsigned."""
    header = struct.pack(
        "<BBBBI B3s H B H H 4s B", 0xE9, 1, 2, 0x20, 0x40080000, 0xEE, b"", 0, 0, 0, 399, b"", 1
    )
    descriptor = struct.pack(
        "<II8s32s32s16s16s32s32s80s", 0xABCD5432, 0, b"", version.encode(), project.encode(),
        b"12:00:00", b"Jan  1 2026", b"v5.2.2", b"", b"",
    )  # fmt: skip
    data = descriptor + bytes(at * 7 % 251 for at in range(size // 4 * 4))
    body = header + struct.pack("<II", _ESP32_DROM, len(data)) + data
    body += bytes(15 - len(body) % 16)
    body += bytes([reduce(int.__xor__, data, 0xEF)])
    return body + hashlib.sha256(body).digest()


@cache
def app(
    version: str = "2.0.0",
    project: str = "thermo",
    chip: str = "esp32",
    *,
    secure_version: int = 0,
    size: int = 8192,
    signer: str = "owner",
) -> bytes:
    """A signed image for any chip."""
    image = build.build_app(version, project, chip, size, secure_version)
    return signing.sign(image, key(signer))
