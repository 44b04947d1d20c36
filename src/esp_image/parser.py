"""The image as a stream: fed with chunks of any size, refused at the first byte that is wrong.

One pass computes the checksum and the appended SHA-256. Left to others: whether the image may be
installed here (`acceptance`), and whose signature counts (`signature`).

Format: ESP-IDF esp_app_format.h, esp_image_format.c; espsecure for padding and signature sector.

`header` and `chip_table` are loaded for the first 288 bytes only: behind them nothing here holds
them, and whoever is short of memory may unload them.
"""

import struct

from .compat import const, plain, sha256, xor_bytes
from .errors import ImageError
from .segments import (
    DESCRIPTOR_BYTES,
    SEGMENT_HEADER_BYTES,
    Segment,
    check_mapping,
    check_segment,
)

SECTOR_BYTES = 4096
V1_TRAILER_BYTES = 68

# ESP-IDF 5.2.2 verifies no partition above this (esp_image_format.c, image_load).
# ESP_ROM_CHECKSUM_INITIAL
_CHECKSUM_SEED = const(0xEF)
_MAX_IMAGE_BYTES = const(0x1000000)
_HEADER_BYTES = const(24)
_BLOCK_BYTES = const(16)
_HASH_BYTES = const(32)
_SIGNATURE_MAGIC = const(0xE7)

# What the next bytes are. Above _HEADER and below _END the order is that of the stream.
_DATA = const(0)
_HEADER = const(1)
_SEGMENT = const(2)
_DESCRIPTOR = const(3)
_TAIL = const(4)
_HASH = const(5)
_PADDING = const(6)
_SECTOR = const(7)
_TRAILER = const(8)
_END = const(9)


class ImageParser:
    """Reads one image.

    signed: True expects padding and a signature sector, False nothing after the image, "v1" the
    68-byte Secure Boot V1 trailer; None takes an image with or without padding and sector.
    max_bytes: most that the whole image may take, the slot's size; 16 MiB if None.
    bootloader: a second-stage bootloader, which has no app descriptor.
    hash: False leaves the appended SHA-256 uncomputed, for a pass whose digest is the signed one.
    ignore_rest: bytes after the end are not looked at, as in a slot read from flash.
    keep_sector: False passes the signature sector without keeping it, for whoever reads it again.

    header: None until 24 bytes have passed. descriptor: None until 288 (and for bootloaders).
    segments: as they pass. received: bytes taken. image_bytes: length without padding and
    signature, None until the last segment's header has passed; total_bytes the whole length, with
    signed=None only after `close`. signed_bytes: what a signature covers.
    sha256: the appended one, 32 bytes, None before it has passed or where there is none; checked
    unless hash=False. Holds a signature sector at most; `feed` inside a segment does not allocate.
    """

    def __init__(self, signed=None, max_bytes=None, bootloader=False, hash=True, ignore_rest=False,
                 keep_sector=True):  # fmt: skip
        if signed not in (True, False, None, "v1"):
            raise ValueError("signed: expected True, False, None or 'v1', got %r" % signed)
        self.header = None
        self.descriptor = None
        self.segments = []
        self.received = 0
        self.image_bytes = None
        self.signed_bytes = None
        self.total_bytes = None
        self.sha256 = None
        self._signed = signed
        self._max_bytes = _MAX_IMAGE_BYTES if max_bytes is None else max_bytes
        self._is_app = not bootloader
        self._ignore_rest = ignore_rest
        self._keep_sector = keep_sector
        self._hash = sha256() if hash else None
        self._computed = None
        self._checksum = _CHECKSUM_SEED
        self._signature = None
        self._error = None
        self._state = _HEADER
        self._left = _HEADER_BYTES
        self._field = bytearray(DESCRIPTOR_BYTES)
        self._have = 0
        self._mapping = None

    @property
    def is_complete(self):
        """Whether the image is whole: `close` would not complain."""
        if self._error is not None:
            return False
        if self._state == _END:
            return True
        return self._signed is None and self._is_between()

    @property
    def is_at_sector(self):
        """Whether image and padding have passed, and the signature sector is next."""
        return self._error is None and self._state == _SECTOR and not self._have

    @property
    def signature_sector(self):
        """The 4096 bytes of the signature sector, None while not there or where there is none."""
        return self._signature if self._state == _END and self._signed != "v1" else None

    @property
    def v1_trailer(self):
        """The 68 bytes of the Secure Boot V1 trailer, None while not there."""
        return self._signature if self._state == _END and self._signed == "v1" else None

    def feed(self, chunk):
        """Take the next bytes: any buffer, any size.

        Raises ImageError at the first byte that cannot be right, with the same code and offset
        however the stream is cut; afterwards each call raises it again. Codes: those of
        check_header, check_segment, check_mapping, parse_descriptor, and `too-large`, `padding`,
        `checksum`, `hash-mismatch`, `unsigned`, `trailing-data`.
        """
        size = len(chunk)
        if self._state == _DATA and size < self._left:
            self._checksum = xor_bytes(chunk, 0, size, self._checksum)
            if self._hash is not None:
                self._hash.update(chunk)
            self._left -= size
            self.received += size
            return
        if self._error is not None:
            raise self._error
        try:
            self._feed_pieces(memoryview(chunk))
        except ImageError as error:
            self._error = error
            if error.offset is not None:
                self.received = error.offset
            raise

    def close(self):
        """The stream has ended. Raises ImageError("truncated") unless the image is whole."""
        if self._error is not None:
            raise self._error
        if not self.is_complete:
            expected = "unknown" if self.total_bytes is None else self.total_bytes
            raise ImageError(
                "truncated",
                "the image ends after %d of %s bytes" % (self.received, expected),
                self.received,
            )
        if self.total_bytes is None:
            self.total_bytes = self.received

    def _feed_pieces(self, view):
        at = 0
        size = len(view)
        while at < size:
            state = self._state
            count = min(self._left, size - at)
            if state == _DATA:
                self._take_data(view[at : at + count])
            elif state == _HEADER:
                self._take_header(view[at : at + count])
            elif state == _TAIL:
                self._take_tail(view[at : at + count])
            elif state == _HASH:
                self._take_hash(view[at : at + count])
            elif state == _PADDING:
                self._take_padding(view[at : at + count])
            elif state in (_SECTOR, _TRAILER):
                self._take_signature(view[at : at + count])
            elif state == _END:
                return self._take_rest()
            else:
                self._collect(view[at : at + count])
            self.received += count
            self._left -= count
            at += count
            if not self._left:
                self._finish(state)

    # What is taken in each state. `received` still counts the bytes before the piece.

    def _take_data(self, piece):
        self._checksum = xor_bytes(piece, 0, len(piece), self._checksum)
        if self._hash is not None:
            self._hash.update(piece)

    def _collect(self, piece):
        """Gather a field that is judged when it is whole; a descriptor's magic before that."""
        have = self._have
        self._field[have : have + len(piece)] = piece
        self._have = have + len(piece)
        if self._state == _DESCRIPTOR and have < 4 <= self._have:
            from .header import check_descriptor_magic

            check_descriptor_magic(self._field)

    def _take_header(self, piece):
        from .header import check_header

        self._collect(piece)
        check_header(self._field, self._have)

    def _take_tail(self, piece):
        """Zeros up to the checksum, which ends a block of 16 bytes."""
        zeros = min(len(piece), self._left - 1)
        self._expect(piece, zeros, 0, "padding", "before the checksum")
        if len(piece) == self._left and piece[zeros] != self._checksum:
            raise ImageError(
                "checksum",
                "checksum 0x%02x, the segments give 0x%02x" % (piece[zeros], self._checksum),
                self.received + zeros,
            )
        if self._hash is not None:
            self._hash.update(piece)

    def _take_hash(self, piece):
        have = self._have
        for i in range(len(piece)):
            self._field[have + i] = piece[i]
            if self._computed is not None and piece[i] != self._computed[have + i]:
                raise ImageError(
                    "hash-mismatch",
                    "the appended SHA-256 is not that of the image",
                    self.received + i,
                )
        self._have = have + len(piece)

    def _take_padding(self, piece):
        code = "padding" if self._signed else "trailing-data"
        self._expect(piece, len(piece), 0xFF, code, "after the image")

    def _take_signature(self, piece):
        if not self._have:
            self._start_signature(piece[0])
        if self._signature is not None:
            self._signature[self._have : self._have + len(piece)] = piece
        self._have += len(piece)

    def _start_signature(self, first):
        if self._state == _SECTOR:
            if first != _SIGNATURE_MAGIC:
                raise ImageError(
                    "unsigned" if self._signed else "trailing-data",
                    "0x%02x where a signature block starts with 0xe7" % first,
                    self.received,
                )
            if self.received + SECTOR_BYTES > self._max_bytes:
                raise self._too_large(self.received + SECTOR_BYTES, self.received)
        if self._keep_sector:
            self._signature = bytearray(self._left)

    def _take_rest(self):
        if not self._ignore_rest:
            raise ImageError(
                "trailing-data",
                "bytes go on after the image's end at %d" % self.received,
                self.received,
            )

    def _expect(self, piece, count, value, code, where):
        for i in range(count):
            if piece[i] != value:
                raise ImageError(
                    code,
                    "0x%02x %s, expected 0x%02x" % (piece[i], where, value),
                    self.received + i,
                )

    # What follows when a state's bytes are all there. `received` counts them.

    def _finish(self, state):
        if state == _HEADER:
            self._finish_header()
        elif state == _SEGMENT:
            self._finish_segment_header()
        elif state == _DESCRIPTOR:
            self._finish_descriptor()
        elif state == _DATA:
            self._after_segment()
        elif state == _TAIL:
            self._finish_tail()
        elif state == _HASH:
            self.sha256 = bytes(self._field[:_HASH_BYTES])
            self._after_image()
        elif state == _PADDING:
            self._go(_SECTOR, SECTOR_BYTES)
        else:
            self._go(_END, 0)

    def _finish_header(self):
        from .header import Header

        self.header = plain(Header(bytes(self._field[:_HEADER_BYTES])))
        self._hash_field(_HEADER_BYTES)
        if not self.header.hash_appended:
            self._hash = None
        self._go(_SEGMENT, SEGMENT_HEADER_BYTES)

    def _finish_segment_header(self):
        address, size = struct.unpack("<II", self._field[:SEGMENT_HEADER_BYTES])
        segment = Segment(address, size, self.received)
        check_segment(segment, self.segments, self._is_app)
        if self._is_app and self.segments:
            check_mapping(segment, len(self.segments), self._mapping, self.received - 1)
        self.segments.append(segment)
        self._measure(segment)
        self._hash_field(SEGMENT_HEADER_BYTES)
        if self._is_app and self.descriptor is None:
            self._go(_DESCRIPTOR, DESCRIPTOR_BYTES)
        elif size:
            self._go(_DATA, size)
        else:
            self._after_segment()

    def _measure(self, segment):
        """Lengths so far; the image is refused when it cannot fit any more."""
        to_come = self.header.segment_count - len(self.segments)
        end = segment.offset + segment.size + to_come * SEGMENT_HEADER_BYTES
        image = (end // _BLOCK_BYTES + 1) * _BLOCK_BYTES
        image += _HASH_BYTES if self.header.hash_appended else 0
        padded = (image + SECTOR_BYTES - 1) // SECTOR_BYTES * SECTOR_BYTES
        total, signed = image, image
        if self._signed == "v1":
            total = image + V1_TRAILER_BYTES
        elif self._signed is not False:
            signed = padded
            total = padded + SECTOR_BYTES if self._signed else image
        if total > self._max_bytes:
            raise self._too_large(total, self.received - 1)
        if not to_come:
            self.image_bytes = image
            self.signed_bytes = signed
            self.total_bytes = None if self._signed is None else total

    def _too_large(self, total, offset):
        return ImageError(
            "too-large",
            "the image takes at least %d bytes, there is room for %d" % (total, self._max_bytes),
            offset,
        )

    def _finish_descriptor(self):
        from .chip_table import mapping
        from .header import parse_descriptor

        self.descriptor = plain(parse_descriptor(self._field))
        self._mapping = mapping(self.header.chip_id, self.descriptor.mmu_page_size)
        check_mapping(self.segments[0], 0, self._mapping, self.received - 1)
        self._checksum = xor_bytes(self._field, 0, DESCRIPTOR_BYTES, self._checksum)
        self._hash_field(DESCRIPTOR_BYTES)
        left = self.segments[0].size - DESCRIPTOR_BYTES
        if left:
            self._go(_DATA, left)
        else:
            self._after_segment()

    def _after_segment(self):
        if len(self.segments) < self.header.segment_count:
            self._go(_SEGMENT, SEGMENT_HEADER_BYTES)
        else:
            self._go(_TAIL, _BLOCK_BYTES - self.received % _BLOCK_BYTES)

    def _finish_tail(self):
        if self._hash is not None:
            self._computed = self._hash.digest()
            self._hash = None
        if self.header.hash_appended:
            self._go(_HASH, _HASH_BYTES)
        else:
            self._after_image()

    def _after_image(self):
        if self._signed is False or (self._signed is None and self.signed_bytes > self._max_bytes):
            self._go(_END, 0)
        elif self._signed == "v1":
            self._go(_TRAILER, V1_TRAILER_BYTES)
        elif self.received < self.signed_bytes:
            self._go(_PADDING, self.signed_bytes - self.received)
        else:
            self._go(_SECTOR, SECTOR_BYTES)

    def _go(self, state, left):
        self._state = state
        self._left = left
        self._have = 0

    def _hash_field(self, size):
        if self._hash is not None:
            self._hash.update(memoryview(self._field)[:size])

    def _is_between(self):
        """With signed=None: at the image's end, or at the end of its padding."""
        if self._state == _PADDING:
            return self.received == self.image_bytes
        return self.is_at_sector
