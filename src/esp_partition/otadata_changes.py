"""How otadata's entries change: the next slot to boot, confirmed, given up.

Each change is returned as (sector index, 32 bytes), to be written by erasing that 4096-byte
sector of the otadata partition and writing the bytes at its start.
"""

import struct

from ota_crypto.compat import const

from .errors import OtadataError
from .otadata import (
    ABORTED,
    INVALID,
    NEW,
    PENDING_VERIFY,
    SEQ_EMPTY,
    UNDEFINED,
    VALID,
    active_index,
    check_slots,
    seq_crc,
    slot_of,
)

_STATE_NAMES = {
    NEW: "NEW",
    PENDING_VERIFY: "PENDING_VERIFY",
    VALID: "VALID",
    INVALID: "INVALID",
    ABORTED: "ABORTED",
    UNDEFINED: "UNDEFINED",
}
_LAYOUT = const("<I20sII")
_LABEL_BYTES = const(20)
_NO_LABEL = b"\xff" * _LABEL_BYTES


def state_name(state):
    """The state's name in ESP-IDF, without its prefix; a number for an unknown one."""
    return _STATE_NAMES.get(state) or "0x%x" % state


def build_entry(seq, state, label=None):
    """The 32 bytes of an entry with its CRC. label: 20 bytes, FF if None.

    Raises ValueError for a seq or state that is not a u32, or a label of another length.
    """
    if not (0 <= seq <= SEQ_EMPTY and 0 <= state <= UNDEFINED):
        raise ValueError("otadata entry: seq %d and state %d have to be u32" % (seq, state))
    label = _NO_LABEL if label is None else bytes(label)
    if len(label) != _LABEL_BYTES:
        raise ValueError("otadata label: expected 20 bytes, got %d" % len(label))
    return struct.pack(_LAYOUT, seq, label, state, seq_crc(seq))


def next_entry(entries, slot, slots, state, keep_sector=False):
    """The change that makes `slot` the one that boots next: (sector index, 32 bytes).

    The smallest seq not below the active one that names the slot, into the other sector, whose
    label bytes stay; without an active entry seq = slot + 1 into sector 0. The other sector is
    taken even if the slot is the active one already, as ESP-IDF 5.2.2 does; keep_sector=True
    rewrites the active sector then, as ESP-IDF's master does.
    entries: both entries. state: NEW with rollback support, else UNDEFINED.
    Raises OtadataError("seq-exhausted") when no such seq is left.
    Not checked here: whether the slot holds a valid image, or is the running one.
    Source: esp_ota_ops.c, esp_rewrite_ota_data. It differs where the active seq is 0 and slots
    is no power of two: ESP-IDF keeps seq 0 there, which the bootloader reads as another slot.
    """
    check_slots(slots)
    if not 0 <= slot < slots:
        raise ValueError("slot %d: expected 0..%d" % (slot, slots - 1))
    active = active_index(entries[0], entries[1])
    if active is None:
        return 0, build_entry(slot + 1, state, entries[0].label)
    seq = entries[active].seq
    distance = (slot - slot_of(seq, slots)) % slots
    if seq == 0 and distance:
        # Counting on from 0, whose slot is that of 2**32, not of 0.
        distance = slot + 1
    if seq + distance >= SEQ_EMPTY:
        raise OtadataError("seq-exhausted", "otadata: no seq is left after %d" % seq)
    sector = active if keep_sector and distance == 0 else 1 - active
    return sector, build_entry(seq + distance, state, entries[sector].label)


def with_state(entry, state):
    """The 32 bytes of `entry` in another state: same seq and label, the CRC anew.

    What the bootloader writes for NEW to PENDING_VERIFY and for PENDING_VERIFY to ABORTED.
    Source: bootloader_utility.c, bootloader_utility_get_selected_boot_partition, write_otadata.
    """
    return build_entry(entry.seq, state, entry.label)


def confirm(entries):
    """The change that keeps the running image: (sector index, 32 bytes), the active entry VALID.

    Where it is VALID already the bytes are those in flash, and need no writing.
    Raises OtadataError("no-active-entry") when otadata names no slot (the factory image runs).
    Source: esp_ota_ops.c, esp_ota_mark_app_valid_cancel_rollback.
    """
    return _active_with_state(entries, VALID)


def reject(entries):
    """The change that gives the running image up: (sector index, 32 bytes), INVALID.

    Not checked here: whether another image can boot (`fallback_slot` says which it would be).
    Raises OtadataError("no-active-entry").
    Source: esp_ota_ops.c, esp_ota_mark_app_invalid_rollback_and_reboot.
    """
    return _active_with_state(entries, INVALID)


def fallback_slot(entries, slots):
    """Slot that boots if the active one is given up: its index, or None for the factory image.

    Not checked here: whether an image is there.
    Raises OtadataError("no-active-entry").
    Source: esp_ota_ops.c, esp_ota_check_rollback_is_possible.
    """
    other = entries[1 - _require_active(entries)]
    return slot_of(other.seq, slots) if other.is_valid else None


def _active_with_state(entries, state):
    active = _require_active(entries)
    return active, with_state(entries[active], state)


def _require_active(entries):
    active = active_index(entries[0], entries[1])
    if active is None:
        raise OtadataError("no-active-entry", "otadata: neither entry is valid, none can change")
    return active
