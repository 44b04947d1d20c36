"""The Secure Boot V2 signature sector: its blocks, byte by byte. Nothing is verified here.

Layout: ESP-IDF esp_secure_boot.h and ROM secure_boot.h (ets_secure_boot_sig_block_t), espsecure
for P-384. Stricter than both: blocks stand from position 0 without a gap, everything else in the
sector is FF, every filler in a block is zero, and all blocks have one scheme (a chip's bootloader
is built for one, and passes over blocks of another).
"""

import struct
from binascii import crc32

from .chip_table import ECDSA_P192, ECDSA_P256, ECDSA_P384, RSA
from .compat import const, plain, sha256
from .errors import ImageError

SECTOR_BYTES = 4096
BLOCK_BYTES = 1216
MAX_BLOCKS = 3

_MAGIC = const(0xE7)
_VERSION_RSA = const(2)
_VERSION_ECDSA = const(3)
_CRC_OFFSET = const(1196)
_RSA_BYTES = const(384)
_EMPTY = const(0xFF)
_FILLER = b"\xff" * 64
_SCHEME_OF_CURVE = {1: ECDSA_P192, 2: ECDSA_P256, 3: ECDSA_P384}


class Block:
    """One block, its CRC and fillers checked.

    position: 0..2. version: 2 (RSA-3072) or 3 (ECDSA). scheme: as in `chips`. image_digest: 32
    bytes, 48 for P-384, by digest_name. key_digest: SHA-256 of the key as the block holds it, 32
    bytes. numbers: the public key, (n, e) or (x, y). signature: bytes, big endian, 384 for RSA, r
    and s for ECDSA.
    """

    def __init__(self, raw, position):
        self.position = position
        self.version = raw[1]
        self._raw = raw
        if self.version == _VERSION_RSA:
            self._read_rsa(raw)
        else:
            self._read_ecdsa(raw)
        self._expect_zero(_CRC_OFFSET + 4, BLOCK_BYTES)
        self._raw = None

    def _read_rsa(self, raw):
        self.scheme = RSA
        self.digest_name = "sha256"
        self.image_digest = bytes(raw[4:36])
        self.key_digest = sha256(raw[36:812]).digest()
        self._expect_zero(2, 4)
        self.numbers = n, e = _little(raw, 36, 384), _little(raw, 420, 4)
        self.signature = _reversed(raw, 812, _RSA_BYTES)
        # The chip computes with rinv and m' as they stand here; the key digest covers them.
        if n >> 3071 != 1 or not n & 1 or e < 3 or not e & 1:
            raise self._error("no RSA-3072 key")
        # A shift by a literal would stand in the compiled code as a number of 768 bytes.
        bits = 2 * 8 * _RSA_BYTES
        if (
            _little(raw, 424, 384) != (1 << bits) % n
            or ((n & 0xFFFFFFFF) * _little(raw, 808, 4) + 1) & 0xFFFFFFFF
        ):
            raise self._error("its Montgomery constants are not those of its key")

    def _read_ecdsa(self, raw):
        is_long = raw[2] == 1
        digest_bytes = 48 if is_long else 32
        self.digest_name = "sha384" if is_long else "sha256"
        key = 4 + digest_bytes
        curve = raw[key]
        if raw[2] > 1 or curve not in _SCHEME_OF_CURVE or is_long != (curve == 3):
            raise self._error("curve %d with digest %d is no known scheme" % (curve, raw[2]))
        self.scheme = _SCHEME_OF_CURVE[curve]
        size = (24, 32, 48)[curve - 1]
        # P-192 points and signatures stand in fields as long as those of P-256.
        field = 96 if is_long else 64
        self.image_digest = bytes(raw[4:key])
        point = key + 1
        self.key_digest = sha256(raw[key : point + field]).digest()
        self._expect_zero(3, 4)
        self._expect_zero(point + 2 * size, point + field)
        self.numbers = _little(raw, point, size), _little(raw, point + size, size)
        at = point + field
        self._expect_zero(at + 2 * size, _CRC_OFFSET)
        self.signature = _reversed(raw, at, size) + _reversed(raw, at + size, size)

    def _expect_zero(self, start, end):
        if any(self._raw[start:end]):
            raise self._error("a filler in bytes %d..%d is not zero" % (start, end - 1))

    def _error(self, text):
        return ImageError("signature-invalid", "signature block %d: %s" % (self.position, text))

    def __repr__(self):
        return "Block(%d, %s)" % (self.position, self.scheme)


def parse_sector(sector):
    """Read a signature sector of 4096 bytes: a list of one to three Blocks.

    Raises ImageError: `unsigned` (no block in position 0), `signature-invalid`.
    """
    if len(sector) != SECTOR_BYTES:
        raise ValueError("signature sector: expected 4096 bytes, got %d" % len(sector))
    view = memoryview(sector)

    def read(offset, buffer):
        buffer[:] = view[offset : offset + len(buffer)]

    return read_sector(read, 0)


def read_sector(read, start):
    """As parse_sector, of a sector that is read piece by piece: never held is more than one block.

    read(offset, buffer): fills the buffer. start: the sector's offset.
    """
    blocks = []
    raw = memoryview(bytearray(BLOCK_BYTES))  # no block keeps it
    for position in range(MAX_BLOCKS):
        read(start + position * BLOCK_BYTES, raw)
        if not position and raw[0] != _MAGIC:
            raise ImageError("unsigned", "no signature block: 0x%02x, expected 0xe7" % raw[0])
        if raw[0] != _EMPTY and len(blocks) == position:
            blocks.append(_parse_block(raw, position))
        else:
            _expect_filler(raw, position * BLOCK_BYTES, len(blocks))
    raw = raw[: SECTOR_BYTES - MAX_BLOCKS * BLOCK_BYTES]
    read(start + MAX_BLOCKS * BLOCK_BYTES, raw)
    _expect_filler(raw, MAX_BLOCKS * BLOCK_BYTES, len(blocks))
    for block in blocks:
        if block.scheme != blocks[0].scheme:
            schemes = ", ".join([block.scheme for block in blocks])
            raise ImageError("signature-invalid", "signature blocks of two schemes: %s" % schemes)
    return blocks


def _expect_filler(raw, start, blocks):
    for i in range(0, len(raw), len(_FILLER)):
        if bytes(raw[i : i + len(_FILLER)]) != _FILLER:
            raise ImageError(
                "signature-invalid",
                "signature sector: not FF behind its %d blocks, at %d or after"
                % (blocks, start + i),
            )


def _parse_block(raw, position):
    crc = struct.unpack("<I", bytes(raw[_CRC_OFFSET : _CRC_OFFSET + 4]))[0]
    where = "signature block %d: " % position
    if raw[0] != _MAGIC or raw[1] not in (_VERSION_RSA, _VERSION_ECDSA):
        raise ImageError(
            "signature-invalid",
            where + "starts with %02x %02x, expected e7 02 or e7 03" % (raw[0], raw[1]),
        )
    if crc != crc32(raw[:_CRC_OFFSET]):
        raise ImageError("signature-invalid", where + "its CRC is wrong")
    return plain(Block(raw, position))


def _little(raw, start, size):
    return int.from_bytes(bytes(raw[start : start + size]), "little")


def _reversed(raw, start, size):
    turned = bytearray(size)
    for i in range(size):
        turned[i] = raw[start + size - 1 - i]
    return bytes(turned)
