"""What a board measures of itself for protocol 2: what really runs (protocol.md, section E).

Of the running image two digests in one pass: the one its signature covers, and that of the image
as it came, signature sector included, which is what `sha256sum` gives for the file.
"""

import hashlib
import struct

from esp_image import ImageError, ImageParser, chips

from .compat import const
from .errors import OtaError

_SECTOR_BYTES = const(4096)
_VALUE_BYTES = const(64)
_TABLE_OFFSET = const(0x8000)


def running_image_steps(board):
    """(SHA-256 of the running image as its signature covers it, SHA-256 of the whole image).

    Of an unsigned image both are of the image alone. A generator: reads the running slot.
    Raises OtaError("not-measured").
    """
    running = board.running_partition()
    size = running.info()[3]

    def read(offset, buffer):
        running.readblocks(offset // _SECTOR_BYTES, buffer, offset % _SECTOR_BYTES)

    for signed in (True, False):
        try:
            return (yield from _digest_steps(read, size, _parser(signed, size)))
        except ImageError as error:
            failed = error
    raise OtaError("not-measured", "the running image cannot be measured: %s" % failed)


def config_value_steps(board):
    """64 bytes: SHA-256 of the bootloader image in flash, without padding and signature, zeros
    if it cannot be read; the Secure Boot state; eFuse's secure version, u32; zeros."""
    digest = bytes(32)
    try:
        start = chips.by_id(board.chip_id).bootloader_offset
        size = _TABLE_OFFSET - start

        def read(offset, buffer):
            board.flash_read(start + offset, buffer)

        digest = (yield from _digest_steps(read, size, _parser(False, size, True)))[1]
    except (ImageError, OSError):
        pass  # encrypted flash, or none there
    value = digest + struct.pack("<BI", board.secure_boot, board.secure_version)
    return value + bytes(_VALUE_BYTES - len(value))


def _parser(signed, size, bootloader=False):
    return ImageParser(signed, size, bootloader, hash=False, ignore_rest=True, keep_sector=False)


def _digest_steps(read, size, parser):
    """(digest of what a signature covers, digest of the whole image); yields between sectors."""
    signed, whole = hashlib.sha256(), hashlib.sha256()
    view = memoryview(bytearray(_SECTOR_BYTES))
    offset = 0
    while not parser.is_complete:
        if offset >= size:
            parser.close()
        chunk = view[: size - offset] if size - offset < _SECTOR_BYTES else view
        read(offset, chunk)
        parser.feed(chunk)
        _update(signed, chunk, offset, parser.signed_bytes)
        _update(whole, chunk, offset, parser.total_bytes)
        offset += len(chunk)
        yield
    return signed.digest(), whole.digest()


def _update(digest, chunk, offset, end):
    if end is None or offset + len(chunk) <= end:
        digest.update(chunk)
    elif offset < end:
        digest.update(chunk[: end - offset])
