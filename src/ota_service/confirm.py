"""Boot confirmation: new firmware tests itself, then stays or goes back.

Runs at every boot, so it imports little. An image that was booted for the first time is in
state PENDING_VERIFY; unless it is confirmed, the bootloader returns to the one before at the
next reset (boot.md, "At boot").
"""

import asyncio

from esp_partition import otadata

_SUBTYPE_OTADATA = 0
_TYPE_DATA = 1


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
    """Whether the running image still has to be confirmed."""
    entries = read_entries(board)
    active = otadata.active_index(entries[0], entries[1]) if entries else None
    return active is not None and entries[active].state == otadata.PENDING_VERIFY


def was_rolled_back(board):
    """Whether the image installed last was given up by the bootloader or by its own self-test:
    the newer otadata entry is ABORTED or INVALID."""
    entries = read_entries(board)
    if not entries or not all(entry.crc_ok for entry in entries):
        return False
    newer = entries[0] if entries[0].seq > entries[1].seq else entries[1]
    return newer.state in (otadata.ABORTED, otadata.INVALID)


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
