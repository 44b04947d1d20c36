"""One board's TLS connection, straight on a non-blocking socket.

Not asyncio's own TLS: it keeps hundreds of kilobytes per connection with data pending, and its
close waits for the peer's close_notify before it closes the socket, while a MicroPython board
waits for the FIN. pyOpenSSL rather than `ssl`: it comes with an OpenSSL of today, which needs two
thirds of the time for a handshake and an image, and sessions need not be kept for a resumption
that boards never ask for. Not here: waiting, deadlines, and what is said.
"""

import fcntl
import os
import socket
import struct
import sys
import termios
from contextlib import suppress

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

# The largest plaintext of a TLS record: RFC 8446, section 5.1.
RECORD_BYTES = 16 * 1024
# What a connection raises that cannot go on now; it is to be tried again when it is ready.
WantRead, WantWrite = SSL.WantReadError, SSL.WantWriteError
NOT_NOW = (WantRead, WantWrite)
# What else it raises when it has failed.
FAILED = (OSError, SSL.Error)
# Unsent bytes the kernel keeps for a slow board: enough until the agent's next turn. What is on its
# way beside them is bounded by the board's own TCP window, so that thousands of slow boards do not
# take gigabytes of kernel memory. A fast board has no use for it: more turns for the same bytes.
# (tcp(7); Python's socket module lacks the name.)
_TCP_NOTSENT_LOWAT = 25
_UNSENT_BYTES = 128 * 1024
# A peer that goes on sending must not keep us from the others.
_PIECES_READ_AWAY = 16
# Records in a row that say nothing to us, new keys and the like: more are looked at when the peer
# has sent still more.
_RECORDS_WITHOUT_DATA = 32
# pyOpenSSL's for an end without a close_notify, where others have an errno.
_ENDED = -1
# In struct tcp_info (linux/tcp.h): tcpi_state, the first byte, and tcpi_bytes_acked, 64 bits (since
# Linux 4.1).
_TCP_CLOSE = 7
_BYTES_ACKED = slice(120, 128)
_NO_COUNT = bytes(4)  # a C int


class TlsConnection:
    """sock must be non-blocking and is owned from here on.

    Every method that touches the socket raises one of NOT_NOW when it cannot go on now, and one
    of FAILED when the connection has failed, of which `failure_of` tells.
    """

    __slots__ = ("_sock", "_tls", "descriptor", "send")

    def __init__(self, sock: socket.socket, context: SSL.Context) -> None:
        self._sock = sock
        self._tls = SSL.Connection(context, sock)
        self._tls.set_accept_state()
        # pyOpenSSL sets it, and has no way back: a peer that sends new keys without end (RFC 8446,
        # 4.6.3), or asks for another handshake, would keep OpenSSL in one call for ever.
        Binding.lib.SSL_clear_mode(self._tls._ssl, Binding.lib.SSL_MODE_AUTO_RETRY)
        self.descriptor = sock.fileno()
        # send(piece): sends all of it, as records of at most RECORD_BYTES, and says how many bytes
        # that were. After WantWrite it wants the same piece again.
        self.send = self._tls.send

    def handshake(self) -> None:
        self._tls.do_handshake()
        # A board's certificate follows its last handshake message, which needs no answer in
        # TLS 1.3: with Nagle's algorithm on, it waits for this acknowledgement.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def receive(self, limit: int) -> bytes:
        """1 to limit bytes, or b"" when the peer has closed."""
        try:
            for _ in range(_RECORDS_WITHOUT_DATA):
                try:
                    return self._tls.recv(limit)
                except WantRead:
                    # A record without data, or no whole one.
                    self._expect_news()
            raise WantRead
        except SSL.ZeroReturnError:
            return b""
        except SSL.SysCallError as error:
            if error.args[0] != _ENDED:
                raise
            return b""

    def _expect_news(self) -> None:
        """Raises WantRead unless there are bytes in the socket, or it has ended."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            raise WantRead from None

    def has_input(self) -> bool:
        """Whether bytes wait in the socket: cheaper than trying to receive in vain. That the peer
        has closed is not seen here, nor what is left of a record received in part."""
        return fcntl.ioctl(self.descriptor, termios.FIONREAD, _NO_COUNT) != _NO_COUNT

    def has_rest(self) -> bool:
        """Whether part of a record is still to be received."""
        return self._tls.pending() > 0

    def begin_transfer(self, send_buffer_bytes: int | None) -> None:
        """Before the first `send` of many. send_buffer_bytes: SO_SNDBUF; None leaves it to the
        kernel."""
        # Whole segments only: a record is not a multiple of them, and air time is dear.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        if send_buffer_bytes is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)

    def end_transfer(self) -> None:
        """After the last `send` of many, where more is to be said: what is left goes out."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def hold_less(self) -> None:
        """For a board that turns out to be slow: the kernel keeps fewer unsent bytes for it."""
        self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    def end(self) -> None:
        """Send close_notify and at once the FIN; nothing can be written after it. Raises
        WantWrite while the kernel has no room for the former, and nothing else."""
        try:
            self._tls.shutdown()
        except WantWrite:
            raise
        except SSL.Error as error:
            # There is no handshake to end, or no connection.
            failure_of(error)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def read_away(self) -> bool:
        """After `end`: discard what the peer has sent, some of it if it never ends; True if the
        peer has closed."""
        # Raw bytes: what they say is of no interest any more.
        with suppress(BlockingIOError):
            for _ in range(_PIECES_READ_AWAY):
                if not self._sock.recv(RECORD_BYTES):
                    return True
        return False

    def unacknowledged_bytes(self) -> int:
        """Bytes in the kernel that the peer's TCP has not acknowledged (Linux SIOCOUTQ, which
        has the number of TIOCOUTQ: tcp(7))."""
        count = fcntl.ioctl(self.descriptor, termios.TIOCOUTQ, _NO_COUNT)
        return int.from_bytes(count, sys.byteorder)

    def acknowledged_bytes(self) -> int:
        """Bytes that the peer's TCP has acknowledged since it connected."""
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.stop)
        return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)

    def given_bytes(self) -> int:
        """Bytes that the kernel has been given to send, acknowledged or not."""
        return self.acknowledged_bytes() + self.unacknowledged_bytes()

    def is_reset(self) -> bool:
        """Whether TCP knows of no connection any more, also where the error has been told."""
        return self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE

    def check(self) -> None:
        """Raises OSError if the connection has broken since it was last read or written."""
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        """Close at once with a reset: a peer in the middle of a transfer must not take this for
        its end."""
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


def failure_of(error: Exception) -> str:
    """What one of FAILED says, in a line; OpenSSL's own words where there are some."""
    # What is left in the queue of errors OpenSSL 3 would take for the next connection's.
    Binding.lib.ERR_clear_error()
    if isinstance(error, SSL.SysCallError):
        number = error.args[0]
        return "closed" if number == _ENDED else os.strerror(number)
    if isinstance(error, SSL.Error):
        entries = error.args[0] if error.args else ()
        return entries[0][2] if entries else "TLS failed"
    system = error.strerror if isinstance(error, OSError) else None
    return system or type(error).__name__
