"""One update as a state machine: fed with bytes, it never touches a socket.

What may happen in which state is the table below. The network side (`protocol1`, `insecure`) calls
the methods in that order; a method called in another state is a bug of the caller. Protocol 2's
sessions, whose attempts may begin in the middle, are `resumable`'s.
"""

from esp_image import ImageError

from .compat import collect_garbage, const, let_go
from .errors import OtaError, PeerError

_IDLE = const("idle")
_CONNECTING = const("connecting")
_ATTESTING = const("attesting")
_RECEIVING = const("receiving")
_VERIFYING = const("verifying")
_SWITCHING = const("switching")
_REBOOTING = const("rebooting")
_FAILED = const("failed")

_NEXT_STATE = {
    (_IDLE, "attempt"): _CONNECTING,
    (_FAILED, "attempt"): _CONNECTING,
    (_CONNECTING, "connected"): _ATTESTING,
    (_CONNECTING, "accepted"): _RECEIVING,  # insecure mode: nobody is attested
    (_ATTESTING, "seek"): _ATTESTING,  # what an earlier run left in the slot is taken up
    (_ATTESTING, "reset"): _ATTESTING,  # another image, or an agent that cannot resume
    (_ATTESTING, "end"): _IDLE,  # the agent has nothing newer
    (_ATTESTING, "accepted"): _RECEIVING,
    (_RECEIVING, "whole"): _VERIFYING,
    (_VERIFYING, "verified"): _SWITCHING,
    (_SWITCHING, "switched"): _REBOOTING,
    (_CONNECTING, "failed"): _FAILED,
    (_ATTESTING, "failed"): _FAILED,
    (_RECEIVING, "failed"): _FAILED,
    (_VERIFYING, "failed"): _FAILED,
    (_SWITCHING, "failed"): _FAILED,
}

_READ_BYTES = const(4096)


class Session:
    """The update of one slot, over one or more attempts.

    slot: the partition to write (esp32.Partition's methods), never the running one.
    expected: an esp_image.expected.Expected. trust: a trust.Trust.
    """

    _hash = True  # the parser computes the appended SHA-256

    def __init__(self, slot, expected, trust):
        self.slot = slot
        self.slot_label = slot.info()[4]
        self.state = _IDLE
        self.attempt = 0
        self.cancelled = False  # asyncio can lose a cancellation; this cannot be lost
        self._slot_bytes = slot.info()[3]
        self._expected = expected
        self._trust = trust
        self._parser = None
        self._writer = None
        self._accepted = False
        self._received = 0
        self._total = None

    @property
    def received(self):
        """Image bytes received in this attempt."""
        return self._parser.received if self._parser else self._received

    @property
    def total(self):
        """The image's whole length, None until its last segment header has passed."""
        return self._parser.total_bytes if self._parser else self._total

    @property
    def is_whole(self):
        """Whether every byte of the image has been received.

        Where unsigned images are allowed only the stream's end tells whether a signature follows.
        """
        parser = self._parser
        return parser is not None and not self._trust.unsigned_allowed and parser.is_complete

    def begin_attempt(self):
        """Start over with a fresh parser and an untouched writer."""
        self._go("attempt")
        self.attempt += 1
        self._start()

    def _start(self):
        self._accepted = False
        # What the attempt before holds goes first: its sector buffer is the largest thing here.
        self._parser = self._writer = None
        self._received, self._total = 0, None
        self._writer = self._new_writer()

    def _new_writer(self):
        from .slot_writer import SlotWriter

        return SlotWriter(self.slot)

    def _new_parser(self):
        """The parser comes with the first byte: until then there is other code to hold."""
        from esp_image import ImageParser

        return ImageParser(
            signed=not self._trust.unsigned_allowed or None,
            max_bytes=self._slot_bytes,
            hash=self._hash,
            keep_sector=False,
        )

    def connected(self):
        """The agent has the certificate and decides."""
        self._go("connected")

    def accepted(self):
        """Firmware comes; the first `take` says so too."""
        self._go("accepted")

    def prepare(self):
        """Load what reads an image: the first `take` does too, in one turn with all else."""
        if self._parser is None:
            self._parser = self._new_parser()

    def room(self):
        """Where the next bytes of the image go: a memoryview of 1..4096 bytes."""
        return self._writer.room()

    def take(self, count):
        """The first `count` bytes of the room are the next bytes of the image.

        Header and app descriptor are checked before the first erase; at most one sector of flash
        is written. Within a segment nothing is allocated where the room was a whole sector and is
        full. Raises OtaError as soon as the bytes cannot become an acceptable image.
        """
        if self.state == _ATTESTING:
            self._go("accepted")
        self._expect(_RECEIVING)
        self._check_cancelled()
        room = self._writer.room()
        self.feed(room if count == len(room) else room[:count])
        self._writer.advance(count)

    def feed(self, piece):
        """Parse and judge the image's next bytes; `take` does, before they go on to flash."""
        self.prepare()
        try:
            self._parser.feed(piece)
            if not self._accepted and self._parser.descriptor is not None:
                self._judge()
        except ImageError as error:
            raise OtaError(error.code, error.message)

    def _judge(self):
        """May this image be installed here? Raises ImageError."""
        # What read them gives way to what judges them.
        let_go("esp_image.header", "esp_image.chip_table")
        from esp_image import acceptance

        acceptance.require(self._parser.header, self._parser.descriptor, self._expected)
        self._accepted = True
        acceptance = None  # else this frame would keep it
        let_go("esp_image.acceptance")

    def end_of_stream(self):
        """The stream ended. Raises PeerError when that is too early, OtaError for an image that
        is whole but for its signature."""
        if self.state == _ATTESTING:
            raise OtaError(
                "attestation-refused",
                "the agent closed without one byte of firmware: this board was not accepted",
            )
        self.prepare()
        try:
            self._parser.close()
        except ImageError:
            total = self._parser.total_bytes
            # Not where its padding would have ended: there a broken transfer looks the same.
            if self.received == self._parser.image_bytes != self._parser.signed_bytes:
                raise OtaError("unsigned", "the stream ended with the image, without a signature")
            raise PeerError(
                "truncated",
                "the stream ended after %d of %s bytes" % (self.received, total or "unknown"),
            )

    def verify_steps(self):
        """Read the slot back and judge the bytes that will boot; yields between sectors.

        Raises OtaError. The withheld first bytes are still withheld: `switch` writes them.
        """
        self._go("whole")
        self._writer.finish()
        self._check_cancelled()
        # What only the stream needed gives way to what verifying takes.
        self._received, self._total = self.received, self.total
        self._parser = self._expected = None
        from . import verification

        yield from verification.verify_steps(
            self._read_slot, self._slot_bytes, self._trust, self._writer
        )
        self._go("verified")

    def switch(self, boots_next):
        """Make the slot bootable and the one that boots next. Raises OtaError.

        boots_next(): whether otadata, read back, names the slot.
        """
        self._expect(_SWITCHING)
        self._check_cancelled()
        self._writer.release()
        collect_garbage()  # of verifying: what comes here may verify too
        try:
            self.slot.set_boot()
        except OSError as error:
            raise OtaError("set-boot", "the slot was not taken as boot partition: %s" % error)
        if not boots_next():
            raise OtaError("set-boot", "otadata does not name the slot: its write did not take")
        self._go("switched")

    def fail(self, error):
        """Leave the slot unbootable and the reason readable."""
        self._go("failed")
        if self._writer is None:
            return
        try:
            self._writer.discard()
        except Exception:
            # The first error is the one to read; what stands in the slot has been verified, or
            # lacks its first bytes.
            error.message += "; the spare slot could not be erased"

    def _go(self, event):
        try:
            self.state = _NEXT_STATE[(self.state, event)]
        except KeyError:
            raise RuntimeError("update session: %s in state %s" % (event, self.state))

    def _check_cancelled(self):
        if self.cancelled:
            raise OtaError("cancelled", "the update was cancelled")

    def _expect(self, state):
        if self.state != state:
            raise RuntimeError("update session: expected state %s, it is %s" % (state, self.state))

    def _read_slot(self, offset, buffer):
        self.slot.readblocks(offset // _READ_BYTES, buffer, offset % _READ_BYTES)
