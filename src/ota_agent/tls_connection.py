"""One board's TLS connection, straight on a non-blocking socket.

Not asyncio's own TLS: it keeps hundreds of kilobytes per connection with data pending, and its
close waits for the peer's close_notify before it closes the socket, while a MicroPython board
waits for the FIN. Not here: deadlines, and what is said.
"""

import asyncio
import fcntl
import os
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

# The largest plaintext of a TLS record: RFC 8446, section 5.1.
RECORD_BYTES = 16 * 1024
# Unsent bytes the kernel keeps per board: enough until the agent's next turn. What is on its way
# beside them is bounded by the board's own TCP window, so that thousands of slow boards do not
# take gigabytes of kernel memory. (tcp(7); Python's socket module lacks the name.)
_TCP_NOTSENT_LOWAT = 25
_UNSENT_BYTES = 128 * 1024


class Next(Enum):
    """What a step wants: nothing more, or to be called again when it may write, or by `go_on`."""

    DONE = auto()
    WRITE = auto()
    WAIT = auto()


# Reading is asked for as OpenSSL does it, by ssl.SSLWantReadError.
Step = Callable[[], Next]


class TlsConnection:
    """sock must be non-blocking and is owned from here on.

    A step is a plain function that does what it can without waiting; `perform` calls it again
    whenever the socket is ready, until it is done. A long transfer so costs one callback a turn,
    not one task switch a record. Everything that touches the socket raises OSError when the
    connection has failed (ssl.SSLError is one), and ssl.SSLWantReadError or SSLWantWriteError
    when it cannot go on now. One step at a time.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._descriptor = self._sock.fileno()
        self._step: Step | None = None
        self._done: asyncio.Future[None] | None = None
        self._reading = False
        self._writing = False

    async def perform(self, step: Step) -> None:
        """Call step until it is done. Raises what it raises, or what `fail` was given."""
        done = self._done = self._loop.create_future()
        self._step = step
        try:
            self.go_on()
            await done
        finally:
            self._watch(reading=False, writing=False)
            self._step = self._done = None

    def fail(self, error: Exception) -> None:
        """End the running `perform` with this error; without one nothing happens."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    def finish(self) -> None:
        """End the running `perform`: there is nothing more to wait for."""
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def go_on(self) -> None:
        """Call the running step, if one runs."""
        done, step = self._done, self._step
        if done is None or step is None or done.done():
            # Done, and its coroutine has not run yet: the socket is nobody's business until then.
            self._watch(reading=False, writing=False)
            return
        try:
            wanted = step()
        except ssl.SSLWantReadError:
            self._watch(reading=True, writing=False)
        except ssl.SSLWantWriteError:
            self._watch(reading=False, writing=True)
        except Exception as error:
            self._watch(reading=False, writing=False)
            done.set_exception(error)
        else:
            self._watch(reading=False, writing=wanted is Next.WRITE)
            if wanted is Next.DONE:
                done.set_result(None)

    def _watch(self, *, reading: bool, writing: bool) -> None:
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self._loop.add_reader(self._descriptor, self.go_on)
            else:
                self._loop.remove_reader(self._descriptor)
        if writing is not self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._descriptor, self.go_on)
            else:
                self._loop.remove_writer(self._descriptor)

    def handshake(self) -> None:
        self._sock.do_handshake()
        # A board's certificate follows its last handshake message, which needs no answer in
        # TLS 1.3: with Nagle's algorithm on, it waits for this acknowledgement.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def receive(self, limit: int) -> bytes:
        """1 to limit bytes, or b"" when the peer has closed."""
        try:
            return self._sock.recv(limit)
        except ssl.SSLEOFError:
            return b""

    def begin_transfer(self, send_buffer_bytes: int | None) -> None:
        """Before the first `send` of many. send_buffer_bytes: SO_SNDBUF; None leaves it to the
        kernel."""
        # Whole segments only: a record is not a multiple of them, and air time is dear.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        if send_buffer_bytes is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)

    def send(self, record: memoryview) -> int:
        """Send the beginning of record, which has at most RECORD_BYTES; how many bytes that were.

        After SSLWantWriteError the next call must be with the same record, or a longer one.
        """
        return self._sock.send(record)

    def end(self) -> None:
        """Send close_notify and at once the FIN; nothing can be written after it."""
        # SSLWantReadError among them: ours is out, and we do not wait for theirs.
        with suppress(OSError):
            self._sock.unwrap()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def read_away(self) -> bool:
        """After `end`: discard what the peer sent; True if it has closed."""
        # shutdown() has taken the TLS layer off the socket: these are raw bytes.
        try:
            return not self._sock.recv(RECORD_BYTES)
        except BlockingIOError:
            raise ssl.SSLWantReadError from None

    def unacknowledged_bytes(self) -> int:
        """Bytes in the kernel that the peer's TCP has not acknowledged (Linux SIOCOUTQ, which
        has the number of TIOCOUTQ: tcp(7))."""
        (count,) = struct.unpack("i", fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    def check(self) -> None:
        """Raises OSError if the connection has broken since it was last read or written."""
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        """Close at once with a reset: a peer in the middle of a transfer must not take this for
        its end. After `close` it does nothing."""
        if self._sock.fileno() < 0:
            return
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
