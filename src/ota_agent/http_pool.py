"""A small HTTP/1.1 client for one server: POST, keep-alive, a bounded number of connections.

Small because it is on the path of every update. Each answer is awaited before the next request
goes out on its connection, and bytes that nobody asked for end the connection: an answer is never
taken for that to another request.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

_MOST_ANSWER_BYTES = 64 * 1024


class HttpError(Exception):
    """No whole answer came. unused: the request was not looked at, for sure."""


class StaleConnectionError(HttpError):
    """The server had closed a kept connection before the request reached it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go; `target_of` makes it from a URL."""

    host: str
    port: int
    head: bytes
    tls: bool


def target_of(url: str) -> Target:
    """Of an http or https URL; its query is part of the request, its fragment is not."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    name = f"[{host}]" if ":" in host else host
    authority = name if port == (443 if tls else 80) else f"{name}:{port}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ota-agent\r\n"
        "Content-Type: text/plain\r\nContent-Length: "
    )
    return Target(host, port, head.encode("ascii"), tls)


class HttpPool:
    """At most `most` connections to url; the others wait, first come, first served."""

    def __init__(self, url: str, most: int) -> None:
        self._target = target_of(url)
        self._tls = ssl.create_default_context() if self._target.tls else None
        self._idle: list[_Connection] = []
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def post(self, body: bytes) -> int:
        """The status of the whole answer to this body. Raises HttpError, OSError."""
        await self._take_turn()
        try:
            while True:
                kept = bool(self._idle)
                connection = self._idle.pop() if kept else await self._connect()
                try:
                    status = await connection.post(self._target.head, body)
                except StaleConnectionError:
                    if not kept:
                        raise
                    continue
                except BaseException:
                    connection.abort()
                    raise
                if connection.is_open:
                    self._idle.append(connection)
                return status
        finally:
            self._give_turn()

    async def _take_turn(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            # It may have come at the very moment of a cancellation.
            if turn.done() and not turn.cancelled():
                self._give_turn()
            raise

    def _give_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _connect(self) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle), self._target.host, self._target.port, ssl=self._tls
        )
        return connection

    def close(self) -> None:
        for connection in list(self._idle):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection; `idle` is the pool's list of those that are kept."""

    def __init__(self, idle: "list[_Connection]") -> None:
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._started = False

    # The pool's side

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def post(self, head: bytes, body: bytes) -> int:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise StaleConnectionError("connection closed")
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._started = False
        self._delimited = False
        self._headers_done = False
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answer = answer
        transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        try:
            return await answer
        finally:
            self._answer = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.done():
            self.abort()
            return
        self._started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the server wants another protocol")
        except httptools.HttpParserError as error:
            self._fail(f"not an HTTP answer ({error})")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self in self._idle:
            self._idle.remove(self)
        answer = self._answer
        if answer is None or answer.done():
            return
        if self._headers_done and not self._delimited and error is None:
            # RFC 9112, section 6.3: without a length the answer ends with the connection.
            answer.set_result(int(self._parser.get_status_code()))
        elif self._started:
            answer.set_exception(HttpError("closed in the middle of its answer"))
        else:
            answer.set_exception(StaleConnectionError("closed without an answer"))

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(HttpError(reason))
        self.abort()

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._delimited = True

    def on_headers_complete(self) -> None:
        self._headers_done = int(self._parser.get_status_code()) >= 200

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        if self._received > _MOST_ANSWER_BYTES:
            self._fail(f"an answer of more than {_MOST_ANSWER_BYTES} bytes")

    def on_message_complete(self) -> None:
        answer = self._answer
        if not self._headers_done or answer is None:
            return  # 100 Continue and its kind: the answer itself follows
        if answer.done():
            self.abort()  # a second answer
            return
        answer.set_result(int(self._parser.get_status_code()))
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
