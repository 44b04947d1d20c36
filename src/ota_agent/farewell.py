"""Closing a connection so that what the board was sent arrives.

What the kernel holds for a slow board can take minutes to leave, and is lost if the socket is
closed while unread bytes of the peer lie in it: they are read away until the board has closed.
"""

from ota_agent.tls_connection import TlsConnection
from ota_agent.transfer import expect_rate

# More than a close_notify record and a FIN: a board that has acknowledged all but these has its
# image, and may well reset instead of reading on.
CLOSING_BYTES = 64


class Farewell:
    """Says goodbye at once; then `is_over` is to be asked whenever the socket is ready, and now
    and then.

    Raises tls_connection.WantWrite while the kernel has no room for a goodbye: to be tried again.
    idle_s: how long a board that has not got everything may take nothing, or less than
    least_bytes_per_s. closing_s: how long one that has may take to close. Times are the event
    loop's.
    """

    __slots__ = (
        "_closing_s", "_connection", "_idle_s", "_least_bytes_per_s", "_left", "_peer_closed",
        "_until",
    )  # fmt: skip

    def __init__(
        self,
        connection: TlsConnection,
        now: float,
        *,
        idle_s: float,
        closing_s: float,
        least_bytes_per_s: float = 0.0,
    ) -> None:
        self._connection = connection
        self._least_bytes_per_s = least_bytes_per_s
        self._idle_s = idle_s
        self._closing_s = closing_s
        self._peer_closed = False
        connection.end()
        self._left: int | None = None
        self._until = now

    @property
    def has_delivered(self) -> bool:
        """Whether the board has everything."""
        return self._connection.unacknowledged_bytes() <= CLOSING_BYTES

    def is_over(self, now: float) -> bool:
        """Whether there is nothing more to wait for. Raises PeerError if the board takes nothing
        or too little in idle_s, OSError if it is gone with a part of the image under way."""
        if self._read_away():
            return True
        left = self._connection.unacknowledged_bytes()
        if self._left is None or (self._left and not left):
            self._left = left
            self._until = now + (self._idle_s if left else self._closing_s)
        if self._peer_closed:
            if left <= CLOSING_BYTES and (not left or self._is_broken()):
                return True
            self._connection.check()
        if now < self._until:
            return False
        if not left:
            return True
        expect_rate(self._left - left, self._idle_s, self._least_bytes_per_s)
        self._left = left
        self._until = now + self._idle_s
        return False

    def _is_broken(self) -> bool:
        """Whether the board has reset the connection: our goodbye reached nobody."""
        try:
            self._connection.check()
        except OSError:
            return True
        return False

    def _read_away(self) -> bool:
        """True if the board has reset the connection with everything received."""
        if self._peer_closed:
            return False
        try:
            self._peer_closed = self._connection.read_away()
        except OSError:
            if not self.has_delivered:
                raise
            return True
        return False
