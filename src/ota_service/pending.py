"""The update of one slot by protocol 2 while the board connects and proves itself, for the first
time or again: that needs the memory that a session and its code would take.
"""

from . import compat
from .compat import const

_READERS = const(
    (
        "esp_image.parser",
        "esp_image.segments",
        "esp_image.readback",
        "esp_image.header",
        "esp_image.chips",
        "esp_image.chip_table",
        "esp_image.compat",
        "esp_image.checksum_viper",
    )
)
_STEPS = {
    "attempt": ("idle", "connecting"),
    "connected": ("connecting", "attesting"),
}


def new_session(board, slot, expected, trust):
    """The session of an update as it begins."""
    # What read the running image; its turn comes again with the first byte of the new one.
    compat.let_go(*_READERS)
    return PendingSession(board, slot, expected, trust)


class Part:
    """What is known of an image that has come in part, from one attempt to the next.

    kept: how many bytes. crc: their CRC-32. withheld: the first 16, which flash lacks. head: all of
    them, where they are too few to be judged, and flash holds none. digest: SHA-256 of the whole
    image. total: its length, None while unknown. It has no methods: they would keep this module.
    """


def part_of(session, writer, is_written):
    """What is known of what has come to a resumable.ResumableSession, by its writer. is_written: in
    flash, as far as its sectors are full; the rest goes there now. Raises
    OtaError("flash-write")."""
    part = Part()
    part.kept, part.total, part.digest = session.received, session.total, session.digest
    part.head = b"" if is_written else bytes(writer.come())
    part.crc = writer.put_away() if is_written else 0
    part.withheld = writer.withheld
    return part


class PendingSession:
    """What is known of the update: as session.Session, whose place it keeps.

    slot, expected, trust: as Session's, for the one that will be. board: whose NVS may know of an
    image that has come in part. part: what has come in an attempt before, a Part, or None.
    """

    def __init__(self, board, slot, expected, trust, part=None):
        self.slot = slot
        self.slot_label = slot.info()[4]
        self.state = "idle"
        self.attempt = 0
        self.cancelled = False
        self.received = part.kept if part else 0
        self.total = part.total if part else None
        self._part = part
        self._board = board
        self._expected = expected
        self._trust = trust

    def begin_attempt(self):
        """Connect, for the first time or again."""
        if self.state == "failed":
            self.state = "idle"
        self._go("attempt")
        self.attempt += 1

    def connected(self):
        """The agent is there and has proven its name."""
        self._go("connected")

    def fail(self, error):
        """Leave the reason readable; the slot lacks its first bytes."""
        self.state = "failed"

    def session(self):
        """The resumable.ResumableSession that goes on from here."""
        from .resumable import ResumableSession

        made = ResumableSession(self.slot, self._expected, self._trust, self._board, self._part)
        made.state, made.attempt, made.cancelled = self.state, self.attempt, self.cancelled
        return made

    def _go(self, event):
        before, after = _STEPS[event]
        if self.state != before:
            raise RuntimeError("update session: %s in state %s" % (event, self.state))
        self.state = after
