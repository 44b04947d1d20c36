"""A small HTTP/1.1 client for one server: keep-alive, a bounded number of connections.

Small, and with callbacks, because it is on the path of every update. An answer is never taken for
that to another request: a connection carries one request at a time, goes on to the next only if
exactly one whole answer has come, and only if nothing is there to be read before the next is sent.
(What is still on its way then, HTTP/1.1 has no means to tell.)
"""

import asyncio
import re
import select
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import httptools

# Head and body; the attestation server's is about 150.
_MOST_ANSWER_BYTES = 64 * 1024
_READ_BYTES = 16 * 1024
# Longer, and what lies between may have forgotten the connection without telling.
# Shorter than servers keep them: what is sent as one closes gets no answer.
_MOST_IDLE_S = 20.0
# How an answer begins, after any number of interim ones (RFC 9110, section 15.2). httptools also
# takes RTSP, ICE, HTTP/0.9 and HTTP/2.0, and any byte as part of the reason.
_REASON = rb"[^\0-\x08\x0a-\x1f\x7f]*\r\n"
_BEGINNING = re.compile(
    rb"(?:HTTP/1\.[01] 1%b(?:[^\r]+\r\n)*\r\n)*HTTP/1\.[01] [2-9]%b" % (_REASON, _REASON)
)

# Called once with the status of a whole answer and "", or with 0 and what went wrong.
Done = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go; `target_of` makes it from a URL. head: of a POST there, up to the
    Content-Length. base: the URL's path without a slash at its end, for what lies below it."""

    host: str
    port: int
    head: bytes
    tls: ssl.SSLContext | None
    authority: str
    base: str

    def request(self, method: str, below: str, headers: str = "", body: bytes = b"") -> bytes:
        """A request for what lies below the URL. headers: lines, each with its end."""
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        head = (
            f"{method} {self.base}{below} HTTP/1.1\r\nHost: {self.authority}\r\n"
            f"User-Agent: ota-agent\r\n{headers}{length}\r\n"
        )
        return head.encode("ascii") + body


def target_of(url: str, tls: ssl.SSLContext | None = None) -> Target:
    """Of an http or https URL; its query is part of the request, its fragment is not. tls: for
    https, else the system's CA certificates are trusted.

    Not checked here: whether the URL holds what would end the request line (`Settings` does).
    """
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
    if parts.scheme != "https":
        tls = None
    elif tls is None:
        tls = ssl.create_default_context()
    return Target(host, port, head.encode("ascii"), tls, authority, parts.path.rstrip("/"))


class Exchange:
    """One request and whoever waits for its answer. content_type, body: of the answer, when done
    is called. may_repeat: it is sent again where a kept connection closes instead of answering;
    not what must not be done twice (RFC 9110, 9.2.2)."""

    __slots__ = ("body", "carrier", "content_type", "done", "may_repeat", "request")

    def __init__(self, request: bytes, done: Done, *, may_repeat: bool = True) -> None:
        self.request = request
        self.may_repeat = may_repeat
        self.content_type = b""
        self.body = b""
        self.done: Done | None = done
        # The connection that carries it or is being made for it; None: it waits for a turn.
        self.carrier: _Connection | asyncio.Task[object] | None = None

    @property
    def has_turn(self) -> bool:
        return self.carrier is not None

    def finish(self, status: int, failure: str) -> None:
        done, self.done = self.done, None
        self.carrier = None
        if done is not None:
            done(status, failure)

    def cancel(self) -> None:
        """Nobody waits any more. What carries it is of no use to another."""
        self.done = None
        self.request = b""
        if self.carrier is not None:
            self.carrier.cancel()


class HttpPool:
    """At most `most` connections to url; the others wait, first come, first served.

    A slot is taken by whoever starts to connect and given back once: by the connection when it is
    lost, or when there was never one.
    """

    def __init__(self, url: str, most: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target_of(url, tls)
        self._loop = asyncio.get_running_loop()
        self._unused = most
        self._waiting: deque[Exchange] = deque()
        self._connecting: dict[asyncio.Task[object], Exchange] = {}
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []
        # One for all: what is read is looked at before anything else is read.
        self.buffer = memoryview(bytearray(_READ_BYTES))

    def post(self, body: bytes, done: Done) -> Exchange:
        """Send this body; done is called when there is an answer or a failure."""
        return self.send(self.post_request(body), done)

    def post_request(self, body: bytes) -> bytes:
        """A POST of this body to the URL itself."""
        return b"%b%d\r\n\r\n%b" % (self.target.head, len(body), body)

    def send(self, request: bytes, done: Done, *, may_repeat: bool = True) -> Exchange:
        """The same for a whole request, as `Target.request` makes it."""
        exchange = Exchange(request, done, may_repeat=may_repeat)
        if not self._place(exchange):
            self._waiting.append(exchange)
        return exchange

    def close(self) -> None:
        """Exchanges still open are not answered. No `post` or `send` after this."""
        self._waiting.clear()
        for exchange in self._connecting.values():
            exchange.cancel()
        for connection in self._connections:
            connection.cancel()

    def _place(self, exchange: Exchange) -> bool:
        """Whether there is a connection for it, or room for one more."""
        while self._idle:
            if self._idle.pop().send(exchange):
                return True
        if not self._unused:
            return False
        self._unused -= 1
        self._connect(exchange)
        return True

    def _serve_waiting(self) -> None:
        waiting = self._waiting
        while waiting and (waiting[0].done is None or self._place(waiting[0])):
            waiting.popleft()

    def _connect(self, exchange: Exchange) -> None:
        """With a slot taken."""
        connection = _Connection(self)
        target = self.target
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.create_connection(
                lambda: connection, target.host, target.port, ssl=target.tls
            )
        )
        exchange.carrier = task
        self._connecting[task] = exchange
        task.add_done_callback(partial(self._connected, connection))

    def _connected(self, connection: "_Connection", task: "asyncio.Task[object]") -> None:
        exchange = self._connecting.pop(task)
        failure = "cancelled" if task.cancelled() else _text(task.exception())
        if failure:
            connection.cancel()
            if not connection.was_made:
                self._release()
            exchange.finish(0, failure)
        elif exchange.done is None:
            self.free(connection)
        elif not connection.send(exchange):
            exchange.finish(0, "closed, or answered, before it was asked")

    def _release(self) -> None:
        self._unused += 1
        self._serve_waiting()

    # For the connections

    def made(self, connection: "_Connection") -> None:
        self._connections.add(connection)

    def free(self, connection: "_Connection") -> None:
        """It has nothing to do."""
        connection.rest()
        self._idle.append(connection)
        if self._waiting:
            self._serve_waiting()

    def lost(self, connection: "_Connection", again: Exchange | None) -> None:
        """It is closed. again: an exchange the server did not look at; it gets the slot, for a
        connection that is not used yet."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if again is not None:
            self._connect(again)
        else:
            self._release()


class _Connection(asyncio.BufferedProtocol):
    """One connection of the pool: idle, or busy with one exchange.

    Buffered: asyncio reads for any other protocol into 256 KiB of its own each time, and to get
    them from the kernel and give them back costs more than all that is done here.
    """

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.was_made = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        # It has been idle, and may have been closed meanwhile.
        self._is_kept = False
        self._idle_since = 0.0
        self._is_to_keep = False
        self._expect_answer()

    def send(self, exchange: Exchange) -> bool:
        """False where this connection is not fit for it, and closed."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._is_fit():
            self.cancel()
            return False
        self._expect_answer()
        self._exchange = exchange
        exchange.carrier = self
        transport.write(exchange.request)
        return True

    def rest(self) -> None:
        """It is idle from now on."""
        self._is_kept = True
        self._idle_since = self._loop.time()

    def cancel(self) -> None:
        """Close it at once. Its exchange, if it has one, is not answered."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.done = None
        self._abort()

    def _is_fit(self) -> bool:
        """Whether there is nothing to read, neither an answer nor the end of the connection."""
        if not self._is_kept:
            # In TLS 1.3 the server's session tickets may be there already.
            return self._is_tls or not self._readable.poll(0)
        idle_s = self._loop.time() - self._idle_since
        return idle_s < _MOST_IDLE_S and not self._readable.poll(0)

    def _expect_answer(self) -> None:
        self._answer = bytearray()
        self._status = 0
        self._content_type = b""
        self._body = b""
        # The answer ends before the connection does.
        self._is_delimited = False
        self._is_whole = False
        self._has_more = False

    def _abort(self) -> None:
        # Not `close`: that waits for the server's close_notify.
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, status: int, failure: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish(status, failure)

    def _fail(self, reason: str) -> None:
        self._abort()
        self._finish(0, reason)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.was_made = True
        self._transport = cast(asyncio.Transport, transport)
        self._is_tls = transport.get_extra_info("ssl_object") is not None
        self._readable = select.poll()
        self._readable.register(transport.get_extra_info("socket"), select.POLLIN)
        self._pool.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._pool.buffer[:nbytes]
        if self._exchange is None:
            self._abort()
            return
        self._answer += data
        if len(self._answer) > _MOST_ANSWER_BYTES:
            self._fail(f"an answer of more than {_MOST_ANSWER_BYTES} bytes")
            return
        failure = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            failure = "the server wants another protocol"
        except httptools.HttpParserError as error:
            failure = f"not an HTTP answer ({error})"
        if self._is_whole:
            # Of a full buffer TLS may hold the rest, where `_is_fit` does not see it.
            is_rest_possible = nbytes == _READ_BYTES
            self._conclude(is_alone=not (failure or self._has_more or is_rest_possible))
        elif failure:
            self._fail(failure)

    def _conclude(self, *, is_alone: bool) -> None:
        """A whole answer is there. is_alone: no byte more."""
        if not _BEGINNING.match(self._answer):
            self._fail("not an HTTP/1 answer")
            return
        status = self._status
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.content_type, exchange.body = self._content_type, self._body
        if is_alone and self._is_to_keep:
            self._pool.free(self)
        else:
            self._abort()
        if exchange is not None:
            exchange.finish(status, "")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        del self._parser  # it holds this object
        exchange, self._exchange = self._exchange, None
        if exchange is None or exchange.done is None:
            self._pool.lost(self, None)
        elif self._is_kept and not self._answer and exchange.may_repeat:
            # An idle connection closes when it likes, also as the next request is on its way.
            self._pool.lost(self, exchange)
        else:
            self._pool.lost(self, None)
            if self._ends_with_connection() and error is None:
                exchange.content_type, exchange.body = self._content_type, self._body
                exchange.finish(self._status, "")
            else:
                begun = "in the middle of its answer" if self._answer else "without an answer"
                exchange.finish(0, f"closed {begun}")

    def _ends_with_connection(self) -> bool:
        """RFC 9112, section 6.3: without a length the answer ends with the connection."""
        is_headed = self._status >= 200 and not self._is_delimited
        return is_headed and _BEGINNING.match(self._answer) is not None

    # httptools' side

    def on_message_begin(self) -> None:
        self._is_delimited = False
        self._has_more = self._is_whole
        if not self._is_whole:
            self._content_type = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._is_delimited = True
        elif name == b"content-type" and not self._is_whole:
            # Two of them are none that is known.
            self._content_type = self._content_type + b", " + value if self._content_type else value

    def on_body(self, body: bytes) -> None:
        if not self._is_whole:
            self._body += body

    def on_headers_complete(self) -> None:
        if not self._is_whole:
            self._status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        # 100 Continue and its kind are followed by the answer itself.
        if self._status >= 200 and not self._is_whole:
            self._is_whole = True
            self._is_to_keep = self._parser.should_keep_alive()


def _text(error: BaseException | None) -> str:
    """One line; empty for no error."""
    if error is None:
        return ""
    system = error.strerror if isinstance(error, OSError) else None
    return system or str(error) or type(error).__name__
