"""Builds application images: small, valid, and the same bytes every time. For tests and demos.

The result holds no program, only data; every tool that reads images takes it, and a bootloader
would verify it. Not done here: signing (espsecure does that).
"""

import struct

from . import chips
from .checksum import CHECKSUM_SEED
from .compat import sha256, xor_bytes
from .header import DESCRIPTOR_BYTES, DESCRIPTOR_MAGIC, HEADER_BYTES, MAGIC, MAX_SEGMENTS
from .segments import SEGMENT_HEADER_BYTES

_BLOCK_BYTES = 16
_PAGE_BYTES = 0x10000
_DRAM_BYTES = 256
_WP_PIN_DISABLED = 0xEE
_SPI_MODE_DIO = 2
_NO_LIMIT = 0xFFFF

# An address in each chip's internal data RAM: soc.h, SOC_DRAM_LOW.
_DRAM = {
    "esp32": 0x3FFB0000,
    "esp32s2": 0x3FFC0000,
    "esp32s3": 0x3FC90000,
    "esp32c2": 0x3FCA0000,
    "esp32c3": 0x3FC90000,
    "esp32c5": 0x40810000,
    "esp32c6": 0x40810000,
    "esp32c61": 0x40810000,
    "esp32h2": 0x40810000,
    "esp32p4": 0x4FF40000,
}
_MIN_APP_BYTES = 0x300


def build_app(version, project, chip="esp32", size=None, secure_version=0, min_chip_rev=0,
              max_chip_rev=_NO_LIMIT, hash_appended=True, idf_version="v5.2.2"):  # fmt: skip
    """An unsigned application image of three segments: flash data, RAM data, flash code.

    version, project: at most 32 bytes of UTF-8, may be empty. size: bytes of the whole image,
    rounded up to a multiple of 16 (every image's length is one), 768 at least; None is 4096.
    min_chip_rev, max_chip_rev: major * 100 + minor. Raises ValueError.
    """
    if chip not in chips.CHIPS:
        raise ValueError("chip %r: expected one of %s" % (chip, ", ".join(sorted(chips.CHIPS))))
    size = 4096 if size is None else (size + _BLOCK_BYTES - 1) // _BLOCK_BYTES * _BLOCK_BYTES
    if size < _MIN_APP_BYTES:
        raise ValueError("size %d: expected at least %d bytes" % (size, _MIN_APP_BYTES))
    seed = ("%s/%s/%s/%d" % (chip, project, version, secure_version)).encode()
    descriptor = build_descriptor(
        version, project, secure_version, sha256(seed).digest(), idf_version
    )
    end = size - (32 if hash_appended else 0)
    # The checksum block takes 1 to 16 bytes behind the last segment: 4 of them, here.
    payload = end - 4 - HEADER_BYTES - 3 * SEGMENT_HEADER_BYTES - DESCRIPTOR_BYTES - _DRAM_BYTES
    code_bytes = payload // 8 * 4
    noise = _noise(seed, payload + _DRAM_BYTES)
    data = descriptor + noise[: payload - code_bytes]
    ram = noise[payload : payload + _DRAM_BYTES]
    return build_image(
        app_segments(chip, data, ram, noise[payload - code_bytes : payload]),
        chip, min_chip_rev, max_chip_rev, hash_appended,
    )  # fmt: skip


def app_segments(chip, data, ram, code):
    """(address, bytes) of three segments, where `chip` can map and load them.

    data: starts with the app descriptor. Lengths have to be multiples of 4.
    """
    chip = chips.CHIPS[chip]
    data_offset = HEADER_BYTES + SEGMENT_HEADER_BYTES
    ram_offset = data_offset + len(data) + SEGMENT_HEADER_BYTES
    code_offset = ram_offset + len(ram) + SEGMENT_HEADER_BYTES
    code_page = chip.irom[0]
    if chip.irom == chip.drom:
        # One range for both: the code goes to the first page behind the data.
        code_page += (data_offset + len(data) + _PAGE_BYTES - 1) // _PAGE_BYTES * _PAGE_BYTES
    return [
        (chip.drom[0] + data_offset, data),
        (_DRAM[chip.name], ram),
        (code_page + code_offset % _PAGE_BYTES, code),
    ]


def build_descriptor(
    version, project, secure_version=0, app_elf_sha256=b"\x00" * 32, idf_version="v5.2.2"
):
    """The 256 bytes of an app descriptor, dated 2024-01-01. Raises ValueError for a long text."""
    return struct.pack(
        "<II8s32s32s16s16s32s32sHHBB2s72s",
        DESCRIPTOR_MAGIC,
        secure_version,
        b"",
        encode_text(version, "version"),
        encode_text(project, "project name"),
        b"00:00:00",
        b"Jan  1 2024",
        encode_text(idf_version, "ESP-IDF version"),
        app_elf_sha256,
        0,
        _NO_LIMIT,
        16,
        _SPI_MODE_DIO,
        b"",
        b"",
    )


def build_image(segments, chip, min_chip_rev=0, max_chip_rev=_NO_LIMIT, hash_appended=True,
                entry=None):  # fmt: skip
    """An image of these segments, with checksum and, unless told otherwise, SHA-256.

    segments: (address, bytes), 1 to 16 of them; nothing about them is checked.
    entry: the entry address, the last segment's if None.
    """
    if not 1 <= len(segments) <= MAX_SEGMENTS:
        raise ValueError("%d segments: expected 1..16" % len(segments))
    parts = [
        struct.pack(
            "<BBBBIB3sHBHH4sB",
            MAGIC,
            len(segments),
            _SPI_MODE_DIO,
            0x20,
            segments[-1][0] if entry is None else entry,
            _WP_PIN_DISABLED,
            b"",
            chips.chip_id(chip),
            0,
            min_chip_rev,
            max_chip_rev,
            b"",
            1 if hash_appended else 0,
        )
    ]
    for address, data in segments:
        parts.append(struct.pack("<II", address, len(data)))
        parts.append(data)
    body = b"".join(parts)
    return finish_image(body, [data for _, data in segments], hash_appended)


def finish_image(body, segment_data, hash_appended):
    """Append padding, checksum and SHA-256 to the header and segments of an image."""
    checksum = CHECKSUM_SEED
    for data in segment_data:
        checksum = xor_bytes(data, 0, len(data), checksum)
    body += b"\x00" * (_BLOCK_BYTES - 1 - len(body) % _BLOCK_BYTES) + bytes((checksum,))
    return body + sha256(body).digest() if hash_appended else body


def encode_text(text, name):
    """A text for a 32-byte field of the descriptor. Raises ValueError if it does not fit."""
    raw = text.encode()
    if len(raw) > 32 or b"\x00" in raw:
        raise ValueError("%s %r: expected at most 32 bytes, no NUL" % (name, text))
    return raw


def _noise(seed, size):
    """Pseudo-random bytes, the same for the same seed."""
    out = bytearray(size)
    block = sha256(seed).digest()
    for at in range(0, size, 32):
        block = sha256(block).digest()
        out[at : at + 32] = block[: size - at]
    return bytes(out)
