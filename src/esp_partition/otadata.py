"""otadata: the two 32-byte entries that say which OTA slot boots.

Pure functions over the entries. Not decided here: whether a slot holds a bootable image
(esp_image), and what a bootloader does where otadata names no slot. How entries change stands in
`otadata_changes`, whose functions are here too: on a chip ESP-IDF makes the changes.

Layout: ESP-IDF esp_flash_partitions.h, esp_ota_select_entry_t: seq u32, label 20 bytes,
state u32, crc u32, little endian.
"""

import struct
from binascii import crc32

from ota_crypto.compat import const

ENTRY_BYTES = 32
SEQ_EMPTY = 0xFFFFFFFF

# esp_ota_img_states_t, esp_flash_partitions.h
NEW = 0
PENDING_VERIFY = 1
VALID = 2
INVALID = 3
ABORTED = 4
UNDEFINED = 0xFFFFFFFF

_LAYOUT = const("<I20sII")
_LABEL_BYTES = const(20)
_NO_LABEL = b"\xff" * _LABEL_BYTES
_MAX_SLOTS = const(16)


def __getattr__(name):
    from . import otadata_changes

    return getattr(otadata_changes, name)


class Entry:
    """One otadata entry as read; nothing about it has been corrected.

    seq, state, crc: u32. label: 20 bytes, FF where unused.
    """

    def __init__(self, seq, state, crc, label=_NO_LABEL):
        self.seq = seq
        self.state = state
        self.crc = crc
        self.label = label

    @property
    def crc_ok(self):
        """Whether the CRC fits; it covers the four bytes of seq and nothing else."""
        return self.crc == seq_crc(self.seq)

    @property
    def is_invalid(self):
        """bootloader_common_ota_select_invalid: empty, or given up. A wrong CRC plays no part."""
        return self.seq == SEQ_EMPTY or self.state == INVALID or self.state == ABORTED

    @property
    def is_valid(self):
        """bootloader_common_ota_select_valid: not invalid, and the CRC fits."""
        return not self.is_invalid and self.crc_ok

    def __repr__(self):
        from .otadata_changes import state_name

        crc = "ok" if self.crc_ok else "wrong"
        return "Entry(seq=%d, state=%s, crc %s)" % (self.seq, state_name(self.state), crc)


def seq_crc(seq):
    """CRC-32 of seq as the ROM computes it: crc32_le(UINT32_MAX, seq, 4).

    Source: bootloader_common_loader.c, bootloader_common_ota_select_crc.
    """
    return crc32(struct.pack("<I", seq), 0xFFFFFFFF)


def parse_entry(raw):
    """Read one entry. raw: exactly 32 bytes; anything in them gives an Entry.

    Raises ValueError for another length.
    """
    if len(raw) != ENTRY_BYTES:
        raise ValueError("otadata entry: expected 32 bytes, got %d" % len(raw))
    seq, label, state, crc = struct.unpack(_LAYOUT, raw)
    return Entry(seq, state, crc, label)


def active_index(entry0, entry1):
    """Which entry is active: 0, 1, or None if neither is valid.

    Of two valid ones the larger seq, of equals the first.
    Source: bootloader_common_loader.c, bootloader_common_select_otadata.
    """
    if entry0.is_valid and (not entry1.is_valid or entry0.seq >= entry1.seq):
        return 0
    return 1 if entry1.is_valid else None


def slot_of(seq, slots):
    """Index of the slot that seq names. slots: number of OTA slots, 1..16.

    Source: bootloader_utility.c, bootloader_utility_get_selected_boot_partition (u32 arithmetic:
    seq 0 counts as 2**32).
    """
    check_slots(slots)
    return ((seq - 1) & 0xFFFFFFFF) % slots


def check_slots(slots):
    """Raises ValueError unless this is a number of OTA slots, 1..16."""
    if not 1 <= slots <= _MAX_SLOTS:
        raise ValueError("number of OTA slots: expected 1..16, got %d" % slots)
