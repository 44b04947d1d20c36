"""HTTP by uvicorn, with the limits it has not: a client that connects and stays silent, sends its
request a byte a minute or without an end, or never reads its answers, is closed.

Deadlines are looked at a few times a second for all connections at once: a timer for each
request would cost more than the rest of the protocol.
"""

import asyncio
from collections.abc import Callable, Sized
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dice_auth import attestation_endpoint
from dice_auth.problem import CONTENT_TYPE as PROBLEM_TYPE
from dice_auth.problem import problem
from dice_auth.structured_log import log_event

HEADER_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 10.0
# How long answers may wait for a client that reads none of them.
ANSWER_TIMEOUT_S = 30.0
KEEP_ALIVE_TIMEOUT_S = 30
SWEEP_EVERY_S = 0.25
# Of a request's first line and headers; of all of a request, with whatever surrounds its chunks.
# The parser has no limits, and the time it takes for a header grows with the square of its length.
_MOST_HEAD_BYTES = 64 * 1024
_MOST_REQUEST_BYTES = 1024 * 1024
# Of all the requests that one reading may bring each takes some 2 KB while it waits for its turn.
_READ_BYTES = 16 * 1024

_BODY_TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n"
    b"Connection: close\r\n\r\nRequest body timeout"
)
_PROBLEM = problem(408, "the request's body did not come in time")
_BODY_TIMEOUT_PROBLEM = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (PROBLEM_TYPE, len(_PROBLEM), _PROBLEM)
)


class _JoinedWrites:
    """A transport that keeps the head of an answer until its body follows, which uvicorn writes
    by itself: one system call and one packet instead of two."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head += data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Write a head that no body follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _FlowControl(FlowControl):
    """Nothing is read while requests wait for their turn: uvicorn would take in more with each
    answer, without end."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """on_own_answer(status): told of answers given here, past the application."""

    # Until when the request that has begun, and what was answered, has to be through.
    _deadline: float | None = None
    _answer_deadline: float | None = None
    _is_in_body = False
    _extensions: dict[str, dict[str, str]] | None = None
    # Of the request that has begun, those that came after its first piece.
    _request_bytes = 0

    def __init__(self, *args: Any, on_own_answer: Callable[[int], None], **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._on_own_answer = on_own_answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._writes = _JoinedWrites(transport)
        self.transport = self._writes  # type: ignore[assignment]
        self.flow = _FlowControl(transport, self.pipeline)
        transport.max_size = _READ_BYTES  # type: ignore[attr-defined]  # of every socket transport
        self._deadline = self.loop.time() + HEADER_TIMEOUT_S
        if self.scheme == "https":
            self._extensions = _tls_extension(transport)

    def data_received(self, data: bytes) -> None:
        self._request_bytes += len(data)
        super().data_received(data)
        limit = _MOST_REQUEST_BYTES if self._is_in_body else _MOST_HEAD_BYTES
        if self._request_bytes > limit and self._deadline is not None:
            self._deadline = None
            if self._is_in_body and self.cycle.response_started:
                log_event("bad-request", peer=self._peer())
                self.transport.abort()
            else:
                self.send_400_response("Request too long.")

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's closes at once
        """A client that half-closes after its request is answered, as the originals do it."""
        if self._deadline is not None or self.cycle is None or self.cycle.response_complete:
            return False
        if self.scheme == "https":  # TLS as asyncio has it is closed in both directions
            return False
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_deadline = self.loop.time() + ANSWER_TIMEOUT_S

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answer_deadline = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._extensions is not None:
            self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]
        self._request_bytes = 0
        if self._deadline is None:
            self._deadline = self.loop.time() + HEADER_TIMEOUT_S

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() == b"POST":
            # The parser takes the body for the other protocol's. No verdict on an empty one.
            raise ValueError("no other protocol here")
        self._deadline = self.loop.time() + BODY_TIMEOUT_S
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._deadline = None
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._writes.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        log_event("bad-request", peer=self._peer())
        self._on_own_answer(400)
        super().send_400_response(msg)

    def _peer(self) -> str | None:
        return f"{self.client[0]}:{self.client[1]}" if self.client else None

    def close_if_late(self, now: float) -> None:
        """now: the loop's time."""
        if self._answer_deadline is not None and now >= self._answer_deadline:
            self._answer_deadline = None
            log_event("answers-unread", peer=self._peer())
            self.transport.abort()
        if self._deadline is None or now < self._deadline:
            return
        if self.pipeline:
            # It is not the client who is late: nothing is read while others wait for answers.
            self._deadline = now + BODY_TIMEOUT_S
            return
        self._deadline = None
        peer = self._peer()
        if self._is_in_body and not self.cycle.response_started:
            log_event("body-timeout", peer=peer)
            self._on_own_answer(408)
            path = self.scope["path"]
            has_problems = path in attestation_endpoint.PATHS or path.startswith("/api/")
            self.transport.write(_BODY_TIMEOUT_PROBLEM if has_problems else _BODY_TIMEOUT)
            self.transport.close()
        else:
            log_event("headers-timeout", peer=peer)
            # abort: what may be queued goes to a client that does not read or does not speak.
            self.transport.abort()


def _tls_extension(transport: asyncio.Transport) -> dict[str, dict[str, str]] | None:
    """ASGI's TLS extension, cut down to whom a verified client certificate names; None without."""
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    names = [f"{name}={value}" for pairs in certificate["subject"] for name, value in pairs]
    return {"tls": {"client_cert_name": ", ".join(names)}}


async def sweep(server: uvicorn.Server) -> None:
    """Close what is late, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        now = loop.time()
        for connection in list(server.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.close_if_late(now)
