"""How far an update has come, kept in NVS, so that it goes on after a power cut.

NVS namespace `ota`, key `progress`, a blob: version 1, then little endian the slot's address, the
bytes safely written to it and their CRC-32, then the SHA-256 of the whole image and its first 16
bytes, which the slot lacks (slot_writer). What is kept is a hint: whoever takes it up reads the
slot again, and the whole image has to have that SHA-256 in the end.
"""

import struct

from .compat import const

_NAMESPACE = const("ota")
_KEY = const("progress")
_FORMAT = const("<BIII32s16s")
_VERSION = const(1)
_SECTOR_BYTES = const(4096)
_RECORD_BYTES = const(61)


class Progress:
    """The progress of one slot's update.

    board: whose NVS. slot: the partition that is written.
    kept: bytes that the record counts, 0 without one. crc, digest, withheld: what it says of them.
    """

    head = b""  # as a pending.Part's: a record begins with a whole sector

    def __init__(self, board, slot):
        self._board = board
        _, _, self._address, self._slot_bytes, _, _ = slot.info()
        self._is_stored = False
        self.kept = 0
        self.crc = 0
        self.digest = self.withheld = None

    def load(self):
        """Read the record, if there is one for this slot; whether there is."""
        record = bytearray(_RECORD_BYTES)
        try:
            nvs = self._board.nvs(_NAMESPACE)
            if nvs is None:
                return False
            size = nvs.get_blob(_KEY, record)
        except OSError:
            return False  # none, or of another length: overwritten some time
        self._is_stored = True
        version, address, kept, crc, digest, withheld = struct.unpack(_FORMAT, record)
        if size != _RECORD_BYTES or version != _VERSION or address != self._address:
            return False
        if not 0 < kept < self._slot_bytes or kept % _SECTOR_BYTES:
            return False
        self.kept, self.crc, self.digest, self.withheld = kept, crc, digest, withheld
        return True

    def store(self, written, crc, digest, withheld):
        """Keep a record. Without one the update starts over after a power cut, and nothing else."""
        self.kept = written
        try:
            nvs = self._board.nvs(_NAMESPACE)
            if nvs is not None:
                record = struct.pack(
                    _FORMAT, _VERSION, self._address, written, crc, digest, bytes(withheld)
                )
                nvs.set_blob(_KEY, record)
                nvs.commit()
                self._is_stored = True
        except OSError:
            pass

    def forget(self):
        """Drop the record: what stands in the slot is of no use any more."""
        self.kept = 0
        if not self._is_stored:
            return
        self._is_stored = False
        try:
            nvs = self._board.nvs(_NAMESPACE)
            nvs.erase_key(_KEY)
            nvs.commit()
        except OSError:
            pass  # what it says of the slot does not fit any more, by its CRC
