"""Sending one image to one board, and telling a slow board from one that is gone."""

import asyncio

from ota_agent.errors import PeerError
from ota_agent.pacing import Pacer
from ota_agent.tls_connection import RECORD_BYTES, Next, TlsConnection

# Records sent before the other boards have their turn.
_RECORDS_A_TURN = 16


class Transfer:
    """`step` sends (for TlsConnection.perform), `judge` is called once every window_s.

    sent: bytes given to the kernel so far. pacer: None where no bandwidth limit holds.
    """

    def __init__(self, connection: TlsConnection, image: memoryview, pacer: Pacer | None) -> None:
        self.sent = 0
        self._connection = connection
        self._image = image
        self._pacer = pacer
        self._granted = 0
        self._start = 0.0
        self._taken = 0

    def step(self) -> Next:
        """Send what the socket takes, but no more than a turn. Raises OSError."""
        if self._pacer is not None:
            return self._step_paced(self._pacer)
        send, image, at = self._connection.send, self._image, self.sent
        try:
            for _ in range(_RECORDS_A_TURN):
                at += send(image[at : at + RECORD_BYTES])
                if at == len(image):
                    return Next.DONE
        finally:
            self.sent = at
        return Next.WRITE

    def _step_paced(self, pacer: Pacer) -> Next:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._granted:
            self._granted, self._start = pacer.reserve(len(self._image) - self.sent, now)
            if self._start > now:
                loop.call_at(self._start, self._connection.go_on)
        if self._start > now:
            return Next.WAIT
        count = self._connection.send(self._image[self.sent : self.sent + self._granted])
        self.sent += count
        self._granted -= count
        return Next.DONE if self.sent == len(self._image) else Next.WRITE

    def judge(self, window_s: float, least_bytes_per_s: float) -> None:
        """Raises PeerError when the board took too little since it was last judged.

        What counts is what its TCP has acknowledged. A board that has taken everything it was
        given waits for us, not we for it.
        """
        left = self._connection.unacknowledged_bytes()
        taken, before = self.sent - left, self._taken
        self._taken = taken
        if not left:
            return
        if taken <= before:
            raise PeerError("transfer-timeout", f"nothing taken for {window_s:g} s")
        rate = (taken - before) / window_s
        if rate < least_bytes_per_s:
            raise PeerError(
                "too-slow",
                f"{rate:.0f} bytes a second over {window_s:g} s, {least_bytes_per_s:g} expected",
            )
