"""Boot confirmation: new firmware tests itself, then stays or goes back.

Runs at every boot, so it imports little. An image that was booted for the first time is in
state PENDING_VERIFY; unless it is confirmed, the bootloader returns to the one before at the
next reset (boot.md, "At boot").
"""

import asyncio

from esp_partition import otadata

_TYPE_APP = 0
_TYPE_DATA = 1
_SUBTYPE_OTA_0 = 0x10
_SUBTYPE_OTADATA = 0
_MAX_SLOTS = 16


def read_entries(board):
    """The two otadata entries, or None on a board without otadata."""
    found = board.find_partitions(_TYPE_DATA, _SUBTYPE_OTADATA)
    if not found:
        return None
    entries = []
    raw = bytearray(32)
    for sector in (0, 1):
        found[0].readblocks(sector, raw, 0)
        entries.append(otadata.parse_entry(bytes(raw)))
    return entries


def is_pending(board):
    """Whether the running image still has to be confirmed.

    Not so when otadata names another slot than the running one: then the bootloader has passed
    over the image it names, and gives it up at the next boot.
    """
    entries = read_entries(board)
    active = otadata.active_index(entries[0], entries[1]) if entries else None
    if active is None or entries[active].state != otadata.PENDING_VERIFY:
        return False
    return _names_running_slot(board, entries[active])


def was_rolled_back(board):
    """Whether the image installed last is not the one that runs: given up by the bootloader or by
    its own self-test, or passed over because it does not verify."""
    newest = None
    for entry in read_entries(board) or ():
        fits = entry.crc_ok and entry.seq != otadata.SEQ_EMPTY
        if fits and (newest is None or entry.seq > newest.seq):
            newest = entry
    if newest is None:
        return False
    if newest.state in (otadata.ABORTED, otadata.INVALID):
        return True
    return not _names_running_slot(board, newest)


def _names_running_slot(board, entry):
    slots = []
    for number in range(_MAX_SLOTS):
        slots.extend(board.find_partitions(_TYPE_APP, _SUBTYPE_OTA_0 + number))
    if not slots:
        return False
    slot = slots[otadata.slot_of(entry.seq, len(slots))]
    return slot.info()[2] == board.running_partition().info()[2]


async def confirm(board, self_test=None, deadline_s=60):
    """Run the self-test if the running image is new, then confirm it or reset into the old one.

    self_test: a coroutine function; False or an exception is a failure. deadline_s: seconds.
    Returns `valid` (nothing to do), `confirmed` or `rolled-back`.
    """
    if not is_pending(board):
        return "valid"
    if await _passes(self_test, deadline_s):
        board.mark_app_valid_cancel_rollback()
        return "confirmed"
    board.reset()
    return "rolled-back"


async def _passes(self_test, deadline_s):
    if self_test is None:
        return True
    try:
        return await asyncio.wait_for(self_test(), deadline_s) is not False
    except Exception:
        return False
