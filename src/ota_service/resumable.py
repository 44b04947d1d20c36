"""Sessions of protocol 2: an attempt may begin in the middle of the image.

Within one run it goes on at the very byte where the attempt before was lost; after a restart, from
what NVS says is safely in flash (`progress`). Either way that is read and hashed again first: the
proof that the board makes before needs the memory of all that would spare it. The whole image has
to have the SHA-256 that was announced, and is verified from flash as every other.
"""

from hashlib import sha256

from .compat import const, let_go
from .errors import OtaError, PeerError
from .session import Session

# Errors beside PeerError after which the next update goes on where this one was
_GOES_ON = const(("cancelled", "deadline"))
_STEP_BYTES = const(65536)


class ResumableSession(Session):
    """The update of one slot. board: whose NVS keeps the progress. part: what has come in an
    attempt before, a pending.Part, or None. The rest as Session's.

    step_bytes: how much is written between two records of the progress, a multiple of 4096. digest:
    SHA-256 of the whole image of which some has come; None before. verdict: what the agent says of
    this board.
    """

    _hash = False  # the whole image's is computed here

    step_bytes = _STEP_BYTES

    def __init__(self, slot, expected, trust, board, part=None):
        super().__init__(slot, expected, trust)
        self._board = board
        self._progress = None  # none is kept
        self._next_record = 0
        self._part = part
        self._computed = None
        self.digest = self.verdict = None

    def begin_attempt(self):
        """Nothing is held for it but what tells of an image that has come in part."""
        self._go("attempt")
        self.attempt += 1
        self._put_away()

    def pending(self, board):
        """The pending.PendingSession that the next attempt begins with. This session is of no use
        any more. Raises OtaError("flash-write")."""
        from .pending import PendingSession

        self._put_away()
        made = PendingSession(board, self.slot, self._expected, self._trust, self._part)
        made.state, made.attempt, made.cancelled = self.state, self.attempt, self.cancelled
        return made

    def _put_away(self):
        """What has come is in flash, or in a Part, which is all that is held of it."""
        if self.received:
            from .pending import part_of

            # Before the image is judged flash is not touched.
            self._part = part_of(self, self._writer, self._accepted)
        self._parser = self._writer = self._computed = None
        self._received, self._total = 0, None

    def _start(self):
        self.digest = None
        super()._start()
        self._computed = sha256()
        self._next_record = self.step_bytes

    def _new_writer(self):
        from .resumable_writer import ResumableWriter

        return ResumableWriter(self.slot)

    def make_room(self):
        """The proof is made: take what an image needs, if it is not held already. Before anything
        else is loaded: a sector's buffer is the longest piece of memory there is."""
        if self._writer is None:
            self._start()

    def resume_steps(self):
        """The board is accepted: take up what an earlier attempt has left in the slot, or one of an
        earlier run whose progress was kept, if it fits; yields between sectors. Those bytes are
        hashed and parsed as if they came."""
        self.make_room()
        progress = self._progress_now()
        part = progress if progress.load() else None
        if self._part is not None:
            part, self._part = self._part, None
        if part is None:
            return
        from .taking_up import take_up_steps

        try:
            is_same = yield from take_up_steps(part, self._writer, self._read_slot, self.feed)
        except (OSError, OtaError):
            is_same = False
        if is_same:
            self.digest = part.digest
            self._next_record = progress.kept + self.step_bytes
            self._go("seek")
        else:
            self._forget_progress()
            self._start()

    def restart(self):
        """Forget what has come: it is of no use any more."""
        self._go("reset")
        self._part = None
        self._forget_progress()
        self._start()

    def _forget_progress(self):
        """None is kept now, nor for a while, in which there is little memory."""
        if self._progress is not None:
            self._progress.forget()
            self._progress = None
            let_go("ota_service.progress")

    def announced(self, digest, offset, total):
        """What comes is the image of this SHA-256 and length, from `offset` on: where this session
        stands, or 0. Raises OtaError("too-large")."""
        if total > self._slot_bytes:
            text = "%d bytes announced, the slot has %d" % (total, self._slot_bytes)
            raise OtaError("too-large", text)
        if not offset:
            self.restart()
        self.digest = digest
        self._go("accepted")

    def up_to_date(self):
        """The agent has nothing newer."""
        self._go("end")

    def feed(self, piece):
        super().feed(piece)
        self._computed.update(piece)

    def take(self, count):
        """As Session.take; also keeps a record of the progress now and then."""
        super().take(count)
        if self._writer.written >= self._next_record and not self._parser.is_complete:
            self._keep_record()

    def _progress_now(self):
        if self._progress is None:
            from .progress import Progress

            self._progress = Progress(self._board, self.slot)
        return self._progress

    def _keep_record(self):
        progress, writer = self._progress_now(), self._writer
        progress.store(writer.written, writer.crc, self.digest, writer.withheld)
        self._next_record = writer.written + self.step_bytes

    def end_of_body(self):
        """All that was announced has come. Raises OtaError unless it is a whole image, and the one
        that was announced."""
        try:
            self.end_of_stream()
        except PeerError as error:
            raise OtaError("wrong-length", "not the length that was announced: %s" % error.message)
        computed, self._computed = self._computed.digest(), None
        if computed != self.digest:
            raise OtaError("wrong-digest", "the image's SHA-256 is not the one that was announced")

    def switch(self, boots_next):
        """As Session.switch. Nothing is resumed in a slot that can boot."""
        self._forget_progress()
        super().switch(boots_next)

    def fail(self, error):
        """Leave the slot unbootable, and what can be resumed in it."""
        lost = self._computed is not None and (error.may_retry or error.code in _GOES_ON)
        if lost or self.state in ("connecting", "attesting"):
            self._go("failed")  # the slot lacks its first bytes
            return
        self._forget_progress()
        super().fail(error)
