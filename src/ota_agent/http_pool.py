"""A small HTTP/1.1 client for one server: POST, keep-alive, a bounded number of connections.

Small, and with callbacks, because it is on the path of every update. Each answer is waited for
before the next request goes out on its connection, and bytes that nobody asked for end the
connection: an answer is never taken for that to another request.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

_MOST_ANSWER_BYTES = 64 * 1024

# Called once with the status of a whole answer and "", or with 0 and what went wrong.
Done = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go; `target_of` makes it from a URL. head: up to the Content-Length."""

    host: str
    port: int
    head: bytes
    tls: ssl.SSLContext | None


def target_of(url: str) -> Target:
    """Of an http or https URL; its query is part of the request, its fragment is not."""
    parts = urlsplit(url)
    standard = 443 if parts.scheme == "https" else 80
    host, port = parts.hostname or "", parts.port or standard
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    name = f"[{host}]" if ":" in host else host
    authority = name if port == standard else f"{name}:{port}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ota-agent\r\n"
        "Content-Type: text/plain\r\nContent-Length: "
    )
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return Target(host, port, head.encode("ascii"), tls)


class Exchange:
    """One request and whoever waits for its answer."""

    __slots__ = ("connection", "done", "request")

    def __init__(self, request: bytes, done: Done) -> None:
        self.request = request
        self.done: Done | None = done
        self.connection: _Connection | None = None

    def finish(self, status: int, failure: str) -> None:
        done, self.done = self.done, None
        self.connection = None
        if done is not None:
            done(status, failure)

    def cancel(self) -> None:
        """Nobody waits any more. Its connection, if it has one, is of no use to another."""
        self.done = None
        if self.connection is not None:
            self.connection.abort()


class HttpPool:
    """At most `most` connections to url; the others wait, first come, first served."""

    def __init__(self, url: str, most: int) -> None:
        self._target = target_of(url)
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Connection] = []
        self._unused = most
        self._waiting: deque[Exchange] = deque()
        self._connecting: set[asyncio.Task[None]] = set()

    def post(self, body: bytes, done: Done) -> Exchange:
        """Send this body; done is called when there is an answer or a failure."""
        exchange = Exchange(b"%b%d\r\n\r\n%b" % (self._target.head, len(body), body), done)
        self._place(exchange)
        return exchange

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for connection in self._idle[:]:
            connection.abort()

    def _place(self, exchange: Exchange) -> None:
        if self._idle:
            self._idle.pop().send(exchange, kept=True)
        elif self._unused:
            self._unused -= 1
            task = self._loop.create_task(self._connect(exchange))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        else:
            self._waiting.append(exchange)

    async def _connect(self, exchange: Exchange) -> None:
        target = self._target
        try:
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), target.host, target.port, ssl=target.tls
            )
        except OSError as error:
            self._unused += 1
            exchange.finish(0, error.strerror or str(error) or type(error).__name__)
            self._place_waiting()
        except BaseException:
            self._unused += 1
            raise
        else:
            if exchange.done is None:
                self.free(connection)
            else:
                connection.send(exchange, kept=False)

    # For the connections

    def free(self, connection: "_Connection") -> None:
        """It has nothing to do."""
        while self._waiting:
            exchange = self._waiting.popleft()
            if exchange.done is not None:
                connection.send(exchange, kept=True)
                return
        self._idle.append(connection)

    def lost(self, connection: "_Connection", again: Exchange | None) -> None:
        """It is closed. again: an exchange the server did not look at."""
        self._unused += 1
        if connection in self._idle:
            self._idle.remove(connection)
        if again is not None:
            self._place(again)
        self._place_waiting()

    def _place_waiting(self) -> None:
        while self._waiting and (self._idle or self._unused):
            exchange = self._waiting.popleft()
            if exchange.done is not None:
                self._place(exchange)


class _Connection(asyncio.Protocol):
    """One connection of the pool: idle, or busy with one exchange."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._kept = False

    def send(self, exchange: Exchange, *, kept: bool) -> None:
        """kept: the connection has served before, and may have been closed meanwhile."""
        self._exchange = exchange
        exchange.connection = self
        self._kept = kept
        self._has_begun = self._has_headers = self._is_delimited = False
        self._received = 0
        if self._transport is not None:
            self._transport.write(exchange.request)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, status: int, failure: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish(status, failure)

    def _fail(self, reason: str) -> None:
        self.abort()
        self._finish(0, reason)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abort()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the server wants another protocol")
        except httptools.HttpParserError as error:
            self._fail(f"not an HTTP answer ({error})")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        exchange = self._exchange
        # An idle connection closes when it likes, also as the next request is on its way.
        again = exchange if self._kept and not self._has_begun_answer() else None
        if again is not None and again.done is not None:
            self._exchange = None
            self._pool.lost(self, again)
            return
        self._pool.lost(self, None)
        if exchange is None:
            return
        if self._has_headers and not self._is_delimited and error is None:
            # RFC 9112, section 6.3: without a length the answer ends with the connection.
            self._finish(int(self._parser.get_status_code()), "")
        else:
            begun = "in the middle of its answer" if self._has_begun else "without an answer"
            self._finish(0, f"closed {begun}")

    def _has_begun_answer(self) -> bool:
        return self._exchange is not None and self._has_begun

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._is_delimited = True

    def on_headers_complete(self) -> None:
        # 100 Continue and its kind are followed by the answer itself.
        self._has_headers = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        if self._received > _MOST_ANSWER_BYTES:
            self._fail(f"an answer of more than {_MOST_ANSWER_BYTES} bytes")

    def on_message_complete(self) -> None:
        if not self._has_headers:
            return
        if self._exchange is None:
            self.abort()  # a second answer
            return
        status = int(self._parser.get_status_code())
        if self._parser.should_keep_alive():
            exchange, self._exchange = self._exchange, None
            self._pool.free(self)
            exchange.finish(status, "")
        else:
            if self._transport is not None:
                self._transport.close()
            self._finish(status, "")
