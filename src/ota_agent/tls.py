"""TLS straight on non-blocking sockets: the agent's context, and a connection to await.

Not asyncio's own TLS: it keeps hundreds of kilobytes per connection with data pending, and its
close waits for the peer's close_notify before it closes the socket, while a MicroPython board
waits for the FIN.
"""

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from contextlib import suppress
from pathlib import Path

from ota_agent.errors import CertificateError

_RECORD_BYTES = 16 * 1024
_POLL_S = 0.25


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate (chain) and key, PEM; no client certificate.

    Raises CertificateError, one line that names the file and the reason.
    """
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise CertificateError(f"{path}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A board connects once and rarely again; mbedTLS 3.6 reports a ticket as a read error.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    try:
        # An empty password: an encrypted key is an error here, never a prompt.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key} is not the key of {certificate}") from error
        raise CertificateError(
            f"{certificate}, {key}: expected a PEM certificate and its unencrypted PEM key"
            f" ({error.reason or 'not readable'})"
        ) from error
    return context


class TlsConnection:
    """One accepted connection; sock must be non-blocking and is owned from here on.

    Reads and writes raise OSError (ssl.SSLError is one) when the connection fails; deadlines
    are the caller's. One coroutine at a time.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )

    async def handshake(self) -> None:
        while True:
            try:
                self._sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()
        # A board's certificate follows its last handshake message, which needs no answer in
        # TLS 1.3: with Nagle's algorithm on, it waits for this acknowledgement.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def read(self, limit: int) -> bytes:
        """1 to limit bytes, or b"" when the peer has closed in good order."""
        while True:
            try:
                return self._sock.recv(limit)
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()
            except ssl.SSLEOFError:
                return b""

    def peek(self) -> bytes | None:
        """One byte (consumed) if there is one, b"" if the peer has closed, None if it waits."""
        try:
            return self._sock.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return b""

    async def write_record(self, data: memoryview) -> int:
        """Send the beginning of data, at most one TLS record; how many bytes that were."""
        record = data[:_RECORD_BYTES]
        while True:
            try:
                return self._sock.send(record)
            except ssl.SSLWantWriteError:
                await self._writable()
            except ssl.SSLWantReadError:
                await self._readable()

    async def end(self) -> None:
        """Send close_notify and at once the FIN; nothing can be written after it."""
        await self._send_close_notify()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def wait_closed(self, *, idle_s: float, closing_s: float) -> None:
        """After `end`: wait until the peer's TCP has everything, then up to closing_s for its
        close, and close the socket.

        What the kernel holds for a slow board can take minutes to leave, and is lost if the
        socket is closed while unread bytes of the peer lie in it: they are read away here.
        Raises TimeoutError if the peer takes nothing for idle_s, OSError if it resets.
        """
        pending = self._unacknowledged_bytes()
        deadline = self._loop.time() + (idle_s if pending else closing_s)
        closed = False
        while (pending or not closed) and self._loop.time() < deadline:
            if closed:
                await asyncio.sleep(_POLL_S)
            else:
                closed = await self._read_away()
            left = self._unacknowledged_bytes()
            if left < pending:
                deadline = self._loop.time() + (idle_s if left else closing_s)
            pending = left
        if pending:
            raise TimeoutError
        self._sock.close()

    async def _read_away(self) -> bool:
        """Discard what the peer sent, waiting for it for a moment; True if it has closed."""
        # shutdown() has taken the TLS layer off the socket: these are raw bytes.
        with suppress(TimeoutError, BlockingIOError):
            async with asyncio.timeout(_POLL_S):
                await self._readable()
            return not self._sock.recv(_RECORD_BYTES)
        return False

    def _unacknowledged_bytes(self) -> int:
        """Bytes in the kernel that the peer's TCP has not acknowledged (Linux SIOCOUTQ, which
        has the number of TIOCOUTQ: tcp(7))."""
        (count,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    async def _send_close_notify(self) -> None:
        while True:
            try:
                self._sock.unwrap()
            except ssl.SSLWantWriteError:
                await self._writable()
                continue
            except OSError:
                # SSLWantReadError among them: ours is out, and we do not wait for theirs.
                return
            return

    def abort(self) -> None:
        """Close at once with a reset: a peer in the middle of a transfer must not take this for
        its end. After `wait_closed` it does nothing."""
        if self._sock.fileno() < 0:
            return
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        descriptor = self._sock.fileno()
        self._loop.add_reader(descriptor, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(descriptor)

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        descriptor = self._sock.fileno()
        self._loop.add_writer(descriptor, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(descriptor)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
