"""Sending an image or a part of it to one board, and telling a slow board from one that is gone."""

import math
from enum import Enum, auto

from ota_agent.errors import PeerError
from ota_agent.firmware import Firmware
from ota_agent.pacing import Pacer
from ota_agent.tls_connection import RECORD_BYTES, TlsConnection

# Given to OpenSSL at once, which cuts them into records: each call costs as much as to encrypt half
# a record. How many before the other boards have their turn.
_PIECE_BYTES = 4 * RECORD_BYTES
_PIECES_A_TURN = 16
# To a record, at most, by the suites that are spoken here (RFC 5246, 6.2.3.3).
_ADDED_BYTES = 29
# With a bandwidth limit: a board for which no more than this is under way keeps up with us.
_ON_ITS_WAY_BYTES = 2 * RECORD_BYTES
# A transfer that takes longer is a slow board's.
_SLOW_S = 1.0


class Progress(Enum):
    """What a call of `Transfer.go_on` ended with: all is sent, or the other boards' turn has
    come, or the bandwidth limit says to go on later."""

    DONE = auto()
    TURN = auto()
    LATER = auto()


class Transfer:
    """pacer: None where no bandwidth limit holds. first, end: the part to send; end None: to the
    image's. later: after Progress.LATER, the time to go on at. started: when it began."""

    def __init__(
        self,
        connection: TlsConnection,
        firmware: Firmware,
        pacer: Pacer | None,
        now: float,
        first: int = 0,
        end: int | None = None,
    ) -> None:
        self._sent = 0
        self._is_over = False
        self.later = 0.0
        self.started = now
        self._connection = connection
        self._image = firmware.image[first:end]
        self._pacer = pacer
        self._granted = 0
        self._given_before = self._taken = connection.given_bytes()
        self._left = 0
        self._slow_from = now + _SLOW_S

    @property
    def total(self) -> int:
        """How many bytes it is to send."""
        return len(self._image)

    @property
    def sent(self) -> int:
        """Bytes given to the kernel so far; in the middle of a piece of several records, as many as
        its own count makes likely."""
        whole = self._sent
        if self._is_over or whole == self.total or self._pacer is not None:
            return whole
        given = self._connection.given_bytes() - self._given_before
        given = given * RECORD_BYTES // (RECORD_BYTES + _ADDED_BYTES)
        return max(whole, min(given, whole + _PIECE_BYTES, self.total))

    @property
    def taken(self) -> int:
        """How many of them the board has."""
        count = self._connection.acknowledged_bytes() - self._given_before
        return max(0, min(count, self.total))

    def go_on(self, now: float) -> Progress:
        """Send what the socket takes, but no more than a turn. Raises one of
        tls_connection.FAILED, and one of its NOT_NOW when the socket takes no more."""
        if self._pacer is not None:
            return self._go_on_paced(self._pacer, now)
        if now > self._slow_from:
            self._connection.hold_less()
            self._slow_from = math.inf
        send, image, sent = self._connection.send, self._image, self._sent
        try:
            for _ in range(_PIECES_A_TURN):
                # Whole or not at all, and once begun it is this one that is to be tried again.
                sent += send(image[sent : sent + _PIECE_BYTES])
                if sent == len(image):
                    return Progress.DONE
        finally:
            self._sent = sent
        return Progress.TURN

    def _go_on_paced(self, pacer: Pacer, now: float) -> Progress:
        image = self._image
        if not self._granted:
            self._granted, self.later = pacer.reserve(len(image) - self._sent, now)
        if self.later > now:
            return Progress.LATER
        count = self._connection.send(image[self._sent : self._sent + self._granted])
        self._sent += count
        self._granted -= count
        return Progress.DONE if self._sent == len(image) else Progress.TURN

    def judge(self, window_s: float, least_bytes_per_s: float) -> None:
        """To be called once every window_s. Raises PeerError when the board took too little
        since the last time.

        What counts is what its TCP has acknowledged, with what TLS adds. A board that has taken
        everything it was given waits for us, not we for it.
        """
        left = self._connection.unacknowledged_bytes()
        taken, before = self._connection.acknowledged_bytes(), self._taken
        # Without a limit there is always something to take.
        had_something_to_take = self._pacer is None or self._left > 0
        self._taken, self._left = taken, left
        if not left or not had_something_to_take:
            return
        keeps_up = self._pacer is not None and left <= _ON_ITS_WAY_BYTES
        expect_rate(taken - before, window_s, 0 if keeps_up else least_bytes_per_s)

    def end(self) -> None:
        """This board takes no more; while its connection is open."""
        self._sent, self._is_over = self.sent, True
        if self._pacer is not None:
            self._pacer.end()


def expect_rate(taken: int, window_s: float, least_bytes_per_s: float) -> None:
    """Raises PeerError if so many bytes are too few for a board that had more to take."""
    if taken <= 0:
        raise PeerError("transfer-timeout", f"nothing taken for {window_s:g} s")
    rate = taken / window_s
    if rate < least_bytes_per_s:
        raise PeerError(
            "too-slow",
            f"{rate:.0f} bytes a second over {window_s:g} s, {least_bytes_per_s:g} expected",
        )
