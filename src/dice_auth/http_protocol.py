"""HTTP by uvicorn, with the deadlines it has not: a client that connects and stays silent, or
sends its request a byte a minute, is closed.

Deadlines are looked at a few times a second for all connections at once: a timer for each
request would cost more than the rest of the protocol.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dice_auth.structured_log import log_event

HEADER_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 10.0
KEEP_ALIVE_TIMEOUT_S = 30
SWEEP_EVERY_S = 0.25

_BODY_TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n"
    b"Connection: close\r\n\r\nRequest body timeout"
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


class HttpProtocol(HttpToolsProtocol):
    """on_own_answer(status): told of answers given here, past the application."""

    _deadline: float | None = None
    _is_in_body = False

    def __init__(self, *args: Any, on_own_answer: Callable[[int], None], **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._on_own_answer = on_own_answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._writes = _JoinedWrites(transport)
        self.transport = self._writes  # type: ignore[assignment]
        self._deadline = self.loop.time() + HEADER_TIMEOUT_S

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._deadline = self.loop.time() + HEADER_TIMEOUT_S

    def on_headers_complete(self) -> None:
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
        self._on_own_answer(400)
        super().send_400_response(msg)

    def close_if_late(self, now: float) -> None:
        """now: the loop's time."""
        if self._deadline is None or now < self._deadline:
            return
        self._deadline = None
        peer = f"{self.client[0]}:{self.client[1]}" if self.client else None
        if self._is_in_body and not self.cycle.response_started:
            log_event("body-timeout", peer=peer)
            self._on_own_answer(408)
            self.transport.write(_BODY_TIMEOUT)
            self.transport.close()
        else:
            log_event("headers-timeout", peer=peer)
            # abort: what may be queued goes to a client that does not read or does not speak.
            self.transport.abort()


async def sweep(server: uvicorn.Server) -> None:
    """Close what is late, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        now = loop.time()
        for connection in list(server.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.close_if_late(now)
