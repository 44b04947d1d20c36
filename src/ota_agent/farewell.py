"""Closing a connection so that what the board was sent arrives.

What the kernel holds for a slow board can take minutes to leave, and is lost if the socket is
closed while unread bytes of the peer lie in it: they are read away until the board has closed.
"""

import ssl
import time

from ota_agent.tls_connection import Next, TlsConnection

# More than a close_notify record and a FIN: a board that has acknowledged all but these has its
# image, and may well reset instead of reading on.
_CLOSING_BYTES = 64


class Farewell:
    """`step` reads away (for TlsConnection.perform); `judge` is called now and then.

    idle_s: how long a board that has not got everything may take nothing. closing_s: how long
    one that has may take to close.
    """

    def __init__(self, connection: TlsConnection, *, idle_s: float, closing_s: float) -> None:
        self._connection = connection
        self._idle_s = idle_s
        self._closing_s = closing_s
        self._peer_closed = False
        connection.end()
        self._left = connection.unacknowledged_bytes()
        self._until = time.monotonic() + (idle_s if self._left else closing_s)

    def step(self) -> Next:
        """Raises OSError if the connection breaks with part of the image under way."""
        try:
            while not self._peer_closed:
                self._peer_closed = self._connection.read_away()
        except ssl.SSLWantReadError:
            raise
        except OSError:
            if self._connection.unacknowledged_bytes() > _CLOSING_BYTES:
                raise
            return Next.DONE
        return Next.WAIT if self._connection.unacknowledged_bytes() else Next.DONE

    def judge(self) -> bool:
        """True when there is nothing more to wait for. Raises TimeoutError if the board takes
        nothing for idle_s, OSError if it is gone."""
        now = time.monotonic()
        left = self._connection.unacknowledged_bytes()
        if left < self._left:
            self._left = left
            self._until = now + (self._idle_s if left else self._closing_s)
        if self._peer_closed:
            if not left:
                return True
            self._connection.check()
        if now < self._until:
            return False
        if left:
            raise TimeoutError
        return True
