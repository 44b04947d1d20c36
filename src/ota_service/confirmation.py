"""Boot confirmation: new firmware tests itself, then stays or goes back.

Runs at every boot, so it imports little. An image that was booted for the first time is in
state PENDING_VERIFY; unless it is confirmed, the bootloader returns to the one before at the
next reset (boot.md, "At boot"). Why new firmware went back is kept in NVS (namespace `ota`, key
`self_test`: 29 bits that stand for the image, two for the reason), for the old one to tell.
"""

import asyncio
from binascii import crc32

from esp_partition import otadata

from .compat import const

_TYPE_APP = const(0)
_TYPE_DATA = const(1)
_SUBTYPE_OTA_0 = const(0x10)
_SUBTYPE_OTADATA = const(0)
_MAX_SLOTS = const(16)
_NAMESPACE = const("ota")
_KEY = const("self_test")
_DESCRIPTOR_OFFSET = const(32)
_DESCRIPTOR_BYTES = const(256)
_FAILED = const(1)
_RAISED = const(2)
_TOO_LATE = const(3)
_REASONS = const(
    (
        "it was reset before it had confirmed itself",
        "its self-test failed",
        "its self-test ended with an exception",
        "its self-test was not over in time",
    )
)


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


def boots_next(board, slot):
    """Whether otadata names this slot, whatever the bootloader then finds in it."""
    entries = read_entries(board)
    active = otadata.active_index(entries[0], entries[1])
    return active is not None and (_named_slot(board, entries[active]).info()[2] == slot.info()[2])


def rollback_reason(board):
    """Why the image installed last is not the one that runs, one line; None if it runs.

    It was given up by its own self-test or by the bootloader, or it does not verify any more.
    """
    newest = None
    for entry in read_entries(board) or ():
        fits = entry.crc_ok and entry.seq != otadata.SEQ_EMPTY
        if fits and (newest is None or entry.seq > newest.seq):
            newest = entry
    if newest is None:
        return None
    if newest.state in (otadata.ABORTED, otadata.INVALID):
        return _REASONS[_read_reason(board, _named_slot(board, newest))]
    return None if _names_running_slot(board, newest) else "it does not verify any more"


def _named_slot(board, entry):
    """The slot that an otadata entry names; None on a board without OTA slots."""
    slots = []
    for number in range(_MAX_SLOTS):
        slots.extend(board.find_partitions(_TYPE_APP, _SUBTYPE_OTA_0 + number))
    return slots[otadata.slot_of(entry.seq, len(slots))] if slots else None


def _names_running_slot(board, entry):
    slot = _named_slot(board, entry)
    return slot is not None and slot.info()[2] == board.running_partition().info()[2]


async def confirm(board, self_test=None, deadline_s=60, on_event=None):
    """Run the self-test if the running image is new, then confirm it or reset into the old one.

    self_test: a coroutine function; False or an exception is a failure (`self_test.standard` is a
    ready one). deadline_s: seconds. on_event(name, detail): told what happens.
    Returns `valid` (nothing to confirm), `confirmed` or `rolled-back`. Firmware that stays raises
    the secure version floor, and when it was confirmed just now the clock's.
    """

    def tell(name, detail):
        # What goes wrong in the application's hook must not keep firmware that failed running.
        try:
            if on_event is not None:
                on_event(name, detail)
        except Exception:  # noqa: S110
            pass

    pending = is_pending(board)
    if pending:
        _keep_reason(board, 0)
        failed, why = await _test(self_test, deadline_s)
        if failed:
            tell("rolled-back", "self-test: %s" % why)
            _keep_reason(board, failed)
            board.reset()
            return "rolled-back"
        board.mark_app_valid_cancel_rollback()
    _raise_floors(board, pending, tell)
    if not pending:
        return "valid"
    tell("confirmed", board.running_partition().info()[4])
    return "confirmed"


async def _test(self_test, deadline_s):
    """(reason, text) of a failure, (0, "") if there is none."""
    if self_test is None:
        return 0, ""
    try:
        if await asyncio.wait_for(self_test(), deadline_s) is False:
            return _FAILED, "failed"
    except asyncio.TimeoutError:
        return _TOO_LATE, "not over within %g s" % deadline_s
    except Exception as error:
        return _RAISED, "%s: %s" % (type(error).__name__, error)
    return 0, ""


def _raise_floors(board, confirmed_now, tell):
    from . import secure_version
    from .descriptor import read_descriptor
    from .errors import OtaError

    try:
        secure_version.raise_floor(board, read_descriptor(board.running_partition()))
        if confirmed_now:
            from . import clock

            clock.raise_floor(board)
    except (OSError, OtaError) as error:
        tell("warning", "a floor in NVS was not raised: %s" % error)


def _keep_reason(board, reason):
    """For `rollback_reason`; going back does not depend on it. 0 only overwrites."""
    try:
        nvs = board.nvs(_NAMESPACE)
        if nvs is not None and (reason or _kept(nvs)):
            nvs.set_i32(_KEY, _image_bits(board.running_partition()) << 2 | reason)
    except OSError:
        pass


def _read_reason(board, slot):
    """The reason kept by the image in this slot, 0 if it kept none."""
    if slot is None:
        return 0
    try:
        nvs = board.nvs(_NAMESPACE)
        kept = _kept(nvs) if nvs is not None else 0
        return kept & 3 if kept >> 2 == _image_bits(slot) else 0
    except OSError:
        return 0


def _kept(nvs):
    try:
        return nvs.get_i32(_KEY)
    except OSError:
        return 0


def _image_bits(slot):
    """29 bits of the app descriptor in a slot, which differs from image to image."""
    descriptor = bytearray(_DESCRIPTOR_BYTES)
    slot.readblocks(0, descriptor, _DESCRIPTOR_OFFSET)
    return crc32(descriptor) >> 3
