"""Writes version and project name into an image's app descriptor, before it is signed.

MicroPython's own builds leave both empty. Checksum and appended SHA-256 are made anew.
"""

import struct

from .build import encode_text, finish_image
from .errors import ImageError
from .header import DESCRIPTOR_OFFSET
from .parser import ImageParser

_SECURE_VERSION_OFFSET = DESCRIPTOR_OFFSET + 4
_VERSION_OFFSET = DESCRIPTOR_OFFSET + 16
_PROJECT_OFFSET = DESCRIPTOR_OFFSET + 48
_TEXT_BYTES = 32


def stamp(image, version, project, secure_version=None):
    """The image with another version, project name and, unless None, secure version (u32).

    image: bytes of a whole unsigned application image; FF behind it up to a multiple of 4096
    stays. Raises ImageError as the parser does, and `signed-image`: its signature would break.
    Raises ValueError for a text over 32 bytes or with control characters.
    """
    parser = ImageParser(signed=None)
    parser.feed(image)
    parser.close()
    if parser.signature_sector is not None:
        raise ImageError("signed-image", "the image is signed: stamp it before it is signed")
    body = bytearray(image[: parser.segments[-1].offset + parser.segments[-1].size])
    _write_text(body, _VERSION_OFFSET, version, "version")
    _write_text(body, _PROJECT_OFFSET, project, "project name")
    if secure_version is not None:
        if not 0 <= secure_version <= 0xFFFFFFFF:
            raise ValueError("secure version %d: expected a u32" % secure_version)
        struct.pack_into("<I", body, _SECURE_VERSION_OFFSET, secure_version)
    data = [memoryview(body)[s.offset : s.offset + s.size] for s in parser.segments]
    stamped = finish_image(bytes(body), data, parser.header.hash_appended)
    return stamped + bytes(image[parser.image_bytes :])


def _write_text(body, offset, text, name):
    raw = encode_text(text, name)
    if any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text):
        raise ValueError("%s %r: control characters" % (name, text))
    body[offset : offset + _TEXT_BYTES] = raw + b"\x00" * (_TEXT_BYTES - len(raw))
