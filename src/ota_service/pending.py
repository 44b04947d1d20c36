"""The update of one slot by protocol 2 while the board connects and proves itself, for the first
time or again: that needs the memory that a session and its code would take.
"""

_STEPS = {
    "attempt": ("idle", "connecting"),
    "connected": ("connecting", "attesting"),
}


class Part:
    """What is known of an image that has come in part, from one attempt to the next.

    kept: how many bytes. crc: their CRC-32. withheld: the first 16, which flash lacks. head: all of
    them, where they are too few to be judged, and flash holds none. digest: SHA-256 of the whole
    image. total: its length, None while unknown. It has no methods: they would keep this module.
    """


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
        from .progress import Progress
        from .resumable import ResumableSession

        progress = Progress(self._board, self.slot)
        made = ResumableSession(self.slot, self._expected, self._trust, progress, self._part)
        made.state, made.attempt, made.cancelled = self.state, self.attempt, self.cancelled
        return made

    def _go(self, event):
        before, after = _STEPS[event]
        if self.state != before:
            raise RuntimeError("update session: %s in state %s" % (event, self.state))
        self.state = after
