"""Agents that fail in one exact way each, their certificates, and a relay that cuts TCP apart.

An agent is a TCP server in a thread; what it does with a connection is a behaviour, a function of
the connected socket. Behaviours wait for the board, never for a time.
"""

import contextlib
import functools
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.dice import server_certificates
from tests.dice.server_certificates import DAY, NOW, Authority, authority

__all__ = ["DAY", "NOW", "Agent", "Authority", "authority"]

Connection = socket.socket
Behaviour = Callable[[Connection], None]
Session = Callable[[ssl.SSLSocket], None]

_SAFETY_S = 30  # longer than any board waits: a behaviour ends with its board
_PIECE_BYTES = 16384
RECORD_HEADER_BYTES = 5


class Agent:
    """Serves one connection after the other, each by the next behaviour; the last one serves
    whoever comes after. connections: how many came. certificates: what boards sent."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self._behaviours = behaviours
        self._stopped = False
        self._bug: BaseException | None = None
        self.connections = 0

    def __enter__(self) -> "Agent":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(_SAFETY_S)
        self._listener.close()
        assert not self._thread.is_alive()
        if self._bug is not None:
            raise self._bug

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopped:
                    return
                self.connections += 1
                behaviour = self._behaviours[min(self.connections, len(self._behaviours)) - 1]
                try:
                    connection.settimeout(_SAFETY_S)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    behaviour(connection)
                except OSError:
                    pass  # the board hung up, as it does when it refuses; ssl.SSLError is one too
                except Exception as bug:
                    self._bug = bug


class Absent:
    """A port that nobody listens on, and nobody else gets meanwhile."""

    connections = 0

    def __enter__(self) -> "Absent":
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()


# -- certificates ---------------------------------------------------------------------------------


@functools.cache
def certificate(
    by: Authority | None,
    kind: str = "p256",
    name: str = "ota-agent",
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + DAY,
) -> bytes:
    """A server certificate, DER; by: None for one that signs itself."""
    subject = server_certificates.common_name(name)
    private = server_certificates.key(kind)
    if by is None:
        by = Authority(subject, private, True, b"")
    return server_certificates.issue(by, subject, private, (name,), not_before, not_after)


@functools.cache
def context(
    der: bytes,
    kind: str = "p256",
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """A TLS server with this certificate, whose key is `server_certificates.key(kind)`."""
    private = server_certificates.key(kind).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = minimum, maximum
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + private)
        made.load_cert_chain(path)
    return made


def good_context(**options: Any) -> ssl.SSLContext:
    """The context of an agent that boards trust."""
    return context(certificate(authority()), **options)


# -- behaviours: before and within the TLS handshake ----------------------------------------------


def closes_at_once(connection: Connection) -> None:
    """An end before the board has said anything; it may come with a reset."""


def closes_after_hello(connection: Connection) -> None:
    """An orderly end where the server's first record belongs."""
    read_record(connection)
    ends(connection)


def resets(connection: Connection) -> None:
    """A TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def resets_after_hello(connection: Connection) -> None:
    """A TCP reset where the server's first record belongs."""
    read_record(connection)
    resets(connection)


def is_silent(connection: Connection) -> None:
    """Nothing, until the board gives up."""
    while connection.recv(65536):
        pass


def answers(content: bytes) -> Behaviour:
    """These bytes instead of the server's first record."""

    def behaviour(connection: Connection) -> None:
        read_record(connection)
        connection.sendall(content)
        ends(connection)

    return behaviour


def breaks_handshake(
    change: Callable[[bytes], bytes], then: Behaviour, tls: ssl.SSLContext
) -> Behaviour:
    """The server's first flight, changed, and what comes after it."""

    def behaviour(connection: Connection) -> None:
        connection.sendall(change(first_flight(connection, tls)))
        then(connection)

    return behaviour


def first_flight(connection: Connection, tls: ssl.SSLContext) -> bytes:
    """What a server answers to the board's first record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(read_record(connection))
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    return outgoing.read()


def hears_and_ends(connection: Connection) -> None:
    """Wait for what the board has to say to that, then an end."""
    connection.recv(65536)
    ends(connection)


def drips_handshake(interval_s: float) -> Behaviour:
    """The server's first flight, one byte at a time with a pause after each."""

    def behaviour(connection: Connection) -> None:
        for byte in first_flight(connection, good_context()):
            connection.sendall(bytes([byte]))
            time.sleep(interval_s)

    return behaviour


def warns_without_end(connection: Connection) -> None:
    """Instead of an answer to the hello, warnings that TLS passes over (RFC 5246, 7.2.2)."""
    read_record(connection)
    while True:
        connection.sendall(b"\x15\x03\x03\x00\x02\x01\x5a" * 1000)


def read_record(connection: Connection) -> bytes:
    """One TLS record."""
    record = _read_exactly(connection, RECORD_HEADER_BYTES)
    return record + _read_exactly(connection, int.from_bytes(record[3:], "big"))


def _read_exactly(connection: Connection, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise ConnectionResetError
        found += piece
    return found


# -- behaviours: behind the handshake -------------------------------------------------------------


def serves(session: Session, tls: ssl.SSLContext | None = None) -> Behaviour:
    """A whole handshake, the board's certificate read, then the session."""

    def behaviour(connection: Connection) -> None:
        secured = (tls or good_context()).wrap_socket(connection, server_side=True)
        with secured:
            if secured.recv(4096):
                session(secured)

    return behaviour


def sends(content: bytes, pieces: int = _PIECE_BYTES) -> Session:
    """These bytes in pieces of so many each, a TLS record for each, then an orderly end."""

    def session(secured: ssl.SSLSocket) -> None:
        _send(secured, content, pieces)
        closes_notified(secured)

    return session


def resets_after(content: bytes) -> Session:
    """These bytes, then a reset."""

    def session(secured: ssl.SSLSocket) -> None:
        _send(secured, content)
        resets(secured)

    return session


def cut_after(content: bytes) -> Session:
    """These bytes, then a TCP end without close_notify: what someone in between can do."""

    def session(secured: ssl.SSLSocket) -> None:
        _send(secured, content)
        ends(secured)

    return session


def stalls_after(content: bytes) -> Session:
    """These bytes, then nothing until the board gives up."""

    def session(secured: ssl.SSLSocket) -> None:
        _send(secured, content)
        is_silent(secured)

    return session


def drips(content: bytes, interval_s: float, before: bytes = b"") -> Session:
    """What comes before at once, then one byte at a time with a pause after each."""

    def session(secured: ssl.SSLSocket) -> None:
        _send(secured, before)
        for at in range(len(content)):
            secured.sendall(content[at : at + 1])
            time.sleep(interval_s)

    return session


def pours(pieces: Iterable[bytes]) -> Session:
    """All of these, until the board hangs up."""

    def session(secured: ssl.SSLSocket) -> None:
        for piece in pieces:
            secured.sendall(piece)
        ends(secured)

    return session


def _send(secured: ssl.SSLSocket, content: bytes, pieces: int = _PIECE_BYTES) -> None:
    for start in range(0, len(content), pieces):
        secured.sendall(content[start : start + pieces])


def closes_notified(secured: ssl.SSLSocket) -> None:
    """close_notify, then TCP's end."""
    secured.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        secured.unwrap()  # which would wait for the board's own close_notify
    secured.settimeout(_SAFETY_S)
    ends(secured)


def ends(connection: Connection) -> None:
    """TCP's end. The board's is waited for: closing earlier could turn into a reset."""
    connection.shutdown(socket.SHUT_WR)
    is_silent(connection)


# -- a relay --------------------------------------------------------------------------------------


Change = Callable[[int, bytes], bytes]


def relays_to(port: int, sizes: Iterable[int], change: Change | None = None) -> Behaviour:
    """Between the board and the server on `port`: to the board in pieces of these sizes, which are
    not used up, each a TCP segment of its own; from the board as it comes.

    change(offset, bytes): what the board gets for these bytes of the server's.
    """

    def behaviour(connection: Connection) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.settimeout(_SAFETY_S)
            upwards = threading.Thread(target=_pump, args=(connection, server))
            upwards.start()
            try:
                _cut(server, connection, iter(sizes), change)
                connection.shutdown(socket.SHUT_WR)
            finally:
                # Whoever is still there hears of it; the other thread ends with that.
                server.shutdown(socket.SHUT_RDWR)
                upwards.join()

    return behaviour


def _pump(source: Connection, sink: Connection) -> None:
    with contextlib.suppress(OSError):  # one hung up; the other direction says so too
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def _cut(source: Connection, sink: Connection, sizes: Iterator[int], change: Change | None) -> None:
    done, left = 0, next(sizes)
    while piece := source.recv(65536):
        if change is not None:
            piece = change(done, piece)
        done += len(piece)
        at = 0
        while at < len(piece):
            sent = sink.send(piece[at : at + left])
            at += sent
            left -= sent
            if not left:
                left = next(sizes)
