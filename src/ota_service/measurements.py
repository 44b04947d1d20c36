"""What a board with identity `mac` measures for its DICE certificate, as the C component does.

Protocol.md, section E. Kept exactly, faults included, so that a board keeps its certificate when
it moves from the C component to this one; identity `provisioned` measures what really runs.
"""

import binascii

from .compat import const

_SECTOR_BYTES = const(4096)
_STEP_BYTES = const(65536)
_CRC_OFFSET = const(1196)
_PAD_OFFSET = const(1200)
_BLOCK_BYTES = const(1216)
_DIGEST_OFFSET = const(4)
_V2_CHIPS = const(("esp32s2", "esp32s3", "esp32c6"))
_NONE = bytes(64)


def measure_steps(board):
    """(code_hash, config_value), 64 bytes each. A generator: it may read the whole flash."""
    if board.secure_boot == 1 and board.chip == "esp32":
        return _measure_v1(board)
    if board.secure_boot == 2 and board.chip in _V2_CHIPS:
        return (yield from _measure_v2_steps(board))
    return _NONE, _NONE


def _measure_v1(board):
    code_hash = bytearray(64)
    board.flash_read(0x80, code_hash)
    config_value = bytearray(64)
    board.flash_read(0x200B0, memoryview(config_value)[:16])
    return bytes(code_hash), bytes(config_value)


def _measure_v2_steps(board):
    """Digests copied from the first two sectors of the flash that look like signature sectors."""
    block = bytearray(_BLOCK_BYTES)
    code_hash = None
    for offset in range(0, board.flash_bytes, _SECTOR_BYTES):
        if offset % _STEP_BYTES == 0:
            yield
        board.flash_read(offset, block)
        if not _looks_like_signature(block):
            continue
        if code_hash is None:
            code_hash = bytes(block[_DIGEST_OFFSET : _DIGEST_OFFSET + 32]) * 2
        else:
            return code_hash, bytes(block[_DIGEST_OFFSET : _DIGEST_OFFSET + 16]) + bytes(48)
    return _NONE, _NONE


def _looks_like_signature(block):
    if block[_PAD_OFFSET:_BLOCK_BYTES] != bytes(16):
        return False
    stored = int.from_bytes(block[_CRC_OFFSET : _CRC_OFFSET + 4], "little")
    return binascii.crc32(memoryview(block)[:_CRC_OFFSET]) == stored
