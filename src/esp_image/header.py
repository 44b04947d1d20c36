"""The 24-byte image header and the 256-byte app descriptor, field by field.

Not judged here: whether an image with these fields may run on this board (`acceptance`).
"""

import struct

from .compat import const
from .errors import ImageError

HEADER_BYTES = 24
MAGIC = 0xE9
MAX_SEGMENTS = 16
DESCRIPTOR_BYTES = 256
DESCRIPTOR_OFFSET = 32
DESCRIPTOR_MAGIC = 0xABCD5432

_HEADER = const("<BBBBIB3sHBHH4sB")
_DESCRIPTOR = const("<II8s32s32s16s16s32s32sHHBB")
_CHIP_ID_OFFSET = const(12)
_HASH_OFFSET = const(23)
_CHIP_ID_END = const(14)


class Header:
    """Fields of esp_image_header_t, ESP-IDF esp_app_format.h.

    Revisions are major * 100 + minor; in max_chip_rev_full 0 and 65535 mean "no limit".
    min_chip_rev is the old field that ESP-IDF no longer looks at.
    """

    def __init__(self, raw):
        (
            _,
            self.segment_count,
            self.spi_mode,
            speed_size,
            self.entry,
            self.wp_pin,
            _,
            self.chip_id,
            self.min_chip_rev,
            self.min_chip_rev_full,
            self.max_chip_rev_full,
            _,
            hash_appended,
        ) = struct.unpack(_HEADER, raw)
        self.spi_speed = speed_size & 0x0F
        self.spi_size = speed_size >> 4
        self.hash_appended = bool(hash_appended)

    def __repr__(self):
        from . import chips

        return "Header(chip %s, %d segments)" % (chips.describe(self.chip_id), self.segment_count)


class Descriptor:
    """Fields of esp_app_desc_t, ESP-IDF esp_app_desc.h.

    Texts are str, app_elf_sha256 32 bytes; eFuse block revisions are major * 100 + minor, 0 and
    65535 mean "no limit"; mmu_page_size is a power of two's exponent, 0 in old images.
    """

    def __init__(self, raw):
        (
            _,
            self.secure_version,
            _,
            version,
            project_name,
            time,
            date,
            idf_version,
            self.app_elf_sha256,
            self.min_efuse_block_rev,
            self.max_efuse_block_rev,
            self.mmu_page_size,
            self.spi_flash_mode,
        ) = struct.unpack(_DESCRIPTOR, raw)
        self.version = _text(version, "version")
        self.project_name = _text(project_name, "project name")
        self.time = _text(time, "time")
        self.date = _text(date, "date")
        self.idf_version = _text(idf_version, "ESP-IDF version")

    def __repr__(self):
        return "Descriptor(%r, %r, secure version %d)" % (
            self.project_name,
            self.version,
            self.secure_version,
        )


def check_header(raw, known):
    """Refuse the first bytes of an image as early as they cannot be right.

    raw: at least `known` bytes. Raises ImageError: `magic`, `segment-count`, `chip-unknown`,
    `hash-flag`.
    """
    if raw[0] != MAGIC:
        raise ImageError("magic", "magic 0x%02x, an image starts with 0xe9" % raw[0], 0)
    if known > 1 and not 1 <= raw[1] <= MAX_SEGMENTS:
        raise ImageError("segment-count", "%d segments, expected 1..16" % raw[1], 1)
    if known >= _CHIP_ID_END:
        from .chip_table import columns_of

        id = raw[_CHIP_ID_OFFSET] | raw[_CHIP_ID_OFFSET + 1] << 8
        if columns_of(id) is None:
            raise ImageError(
                "chip-unknown", "chip id %d is of no known chip" % id, _CHIP_ID_END - 1
            )
    if known == HEADER_BYTES and raw[_HASH_OFFSET] > 1:
        raise ImageError(
            "hash-flag", "hash flag %d, expected 0 or 1" % raw[_HASH_OFFSET], _HASH_OFFSET
        )


def parse_header(raw):
    """Read an image header of 24 bytes. Raises ImageError as `check_header`, `truncated`."""
    if len(raw) < HEADER_BYTES:
        raise ImageError("truncated", "header of %d bytes, expected 24" % len(raw), len(raw))
    check_header(raw, HEADER_BYTES)
    return Header(bytes(raw[:HEADER_BYTES]))


def parse_descriptor(raw):
    """Read an app descriptor of 256 bytes, found 32 bytes into an application image.

    Raises ImageError: `descriptor-magic`, `descriptor-text`, `truncated`.
    """
    if len(raw) < DESCRIPTOR_BYTES:
        raise ImageError("truncated", "app descriptor of %d bytes, expected 256" % len(raw))
    check_descriptor_magic(raw)
    return Descriptor(bytes(raw[: struct.calcsize(_DESCRIPTOR)]))


def check_descriptor_magic(raw):
    """Raises ImageError("descriptor-magic") unless the first four bytes are an app descriptor's."""
    magic = struct.unpack("<I", bytes(raw[:4]))[0]
    if magic != DESCRIPTOR_MAGIC:
        raise ImageError(
            "descriptor-magic",
            "app descriptor: magic 0x%08x, expected 0xabcd5432" % magic,
            DESCRIPTOR_OFFSET + 3,
        )


def _text(raw, name):
    """A text up to its first NUL. These go into logs and answers: no control characters."""
    end = raw.find(b"\x00")
    try:
        text = (raw if end < 0 else raw[:end]).decode()
    except UnicodeError:
        text = "\x00"
    if any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text):
        raise ImageError(
            "descriptor-text",
            "app descriptor: its %s is not printable UTF-8" % name,
            DESCRIPTOR_OFFSET + DESCRIPTOR_BYTES - 1,
        )
    return text
