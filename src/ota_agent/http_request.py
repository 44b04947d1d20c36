"""Requests of protocol 2 out of a stream, without I/O: HTTP/1.1 (RFC 9112), strictly.

The head is parsed by httptools, once it is there: whole heads only, so that how a stream is cut
cannot change what it means. Strictly: whatever two readers could take for two different requests
(two lengths, a length and chunks, folded lines, bare line feeds, a space before a colon, a body
where none belongs) is refused, and what is refused so ends the connection. Not here: what a path,
a token or a range means.
"""

import re
from dataclasses import dataclass

import httptools

from ota_agent.errors import PeerError

MOST_HEAD_BYTES = 4096
# Evidence (protocol.md, C).
MOST_BODY_BYTES = 4096

# httptools takes more: several spaces, ICE and RTSP, no version at all.
_REQUEST_LINE = re.compile(rb"[A-Z][A-Z-]* [\x21-\x7e]+ HTTP/([0-9])\.([0-9])\r\n")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_LETTER = re.compile(rb"[A-Za-z]")
# What is looked at; each may stand there once.
_KNOWN = frozenset(
    (
        b"authorization", b"connection", b"content-length", b"content-type", b"expect", b"host",
        b"if-range", b"range", b"transfer-encoding",
    )
)  # fmt: skip


class RequestError(PeerError):
    """A request that is none, or is too large. status: to be answered before the connection is
    closed, because nobody can tell where the next request would begin."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__("bad-request", message)
        self.status = status


@dataclass(slots=True)
class Request:
    """headers: those that are known here, by their names in lower case."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes = b""

    @property
    def is_last(self) -> bool:
        """The board wants the connection closed after the answer (RFC 9112, 9.6)."""
        options = self.headers.get(b"connection")
        if options is None:
            return False
        return b"close" in [option.strip() for option in options.lower().split(b",")]


class RequestReader:
    """Feed it bytes in whatever pieces they come, and take one request after another out of it.

    What has been fed is bounded by who feeds it: not before `next_request` has given None.
    """

    def __init__(self) -> None:
        self._received = bytearray()
        self._searched = 0
        self._request: Request | None = None
        self._body_bytes = 0
        self._is_to_continue = False

    @property
    def received_bytes(self) -> int:
        """How much of the next request is there; of its body alone once its head is known."""
        return len(self._received)

    @property
    def is_empty(self) -> bool:
        """Nothing of a next request is there."""
        return not self._received and self._request is None

    def take_continue(self) -> bool:
        """Whether the board waits for a 100 before it sends the body (RFC 9110, 10.1.1); once."""
        is_to_continue, self._is_to_continue = self._is_to_continue, False
        return is_to_continue

    def feed(self, data: bytes) -> None:
        self._received += data

    def next_request(self) -> Request | None:
        """The next whole request; None: more bytes are needed. Raises RequestError."""
        if self._request is None:
            head = self._take_head()
            if head is None:
                return None
            self._request = self._begin(head)
        if len(self._received) < self._body_bytes:
            return None
        request, self._request = self._request, None
        request.body = bytes(self._received[: self._body_bytes])
        del self._received[: self._body_bytes]
        self._is_to_continue = False
        return request

    def _take_head(self) -> bytes | None:
        received = self._received
        if not received:
            return None
        if not _LETTER.match(received):
            raise RequestError(400, "a request begins with its method")
        end = received.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            if _BARE_LINE_FEED.search(received, max(0, self._searched - 1)):
                raise RequestError(400, "a line ends without CR")
            self._searched = len(received)
        if (end + 4 if end >= 0 else len(received) + 1) > MOST_HEAD_BYTES:
            raise RequestError(431, f"more than {MOST_HEAD_BYTES} bytes of headers")
        if end < 0:
            return None
        head = bytes(received[: end + 4])
        del received[: end + 4]
        self._searched = 0
        return head

    def _begin(self, head: bytes) -> Request:
        request = _parse(head)
        headers = request.headers
        if b"host" not in headers:
            raise RequestError(400, "no Host")
        if b"transfer-encoding" in headers:
            raise RequestError(411, "a body needs a Content-Length")
        # httptools has seen to it that these are digits.
        self._body_bytes = int(headers.get(b"content-length", b"0"))
        if self._body_bytes > MOST_BODY_BYTES:
            raise RequestError(413, f"a body of more than {MOST_BODY_BYTES} bytes")
        if self._body_bytes and request.method != "POST":
            raise RequestError(400, f"{request.method} with a body")
        expected = headers.get(b"expect")
        if expected is not None and expected.lower() != b"100-continue":
            raise RequestError(417, "only 100-continue can be expected")
        self._is_to_continue = expected is not None and self._body_bytes > 0
        return request


class _Head:
    """What httptools finds."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.is_whole = False
        self.repeated = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KNOWN:
            if name in self.headers:
                self.repeated = name
            self.headers[name] = value.strip(b" \t")

    def on_headers_complete(self) -> None:
        self.is_whole = True


def _parse(head: bytes) -> Request:
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise RequestError(400, "not a request line of HTTP/1.1")
    if line.groups() != (b"1", b"1"):
        raise RequestError(505, "HTTP/1.1 is spoken here")
    found = _Head()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        # An offer that may be passed over (RFC 9110, 7.8); CONNECT has no path, see below.
        pass
    except httptools.HttpParserError as error:
        raise RequestError(400, f"not an HTTP/1.1 request ({error})") from None
    if not found.is_whole:
        raise RequestError(400, "not an HTTP/1.1 request")
    if found.repeated:
        raise RequestError(400, f"{found.repeated.decode()} twice")
    if not found.target.startswith(b"/"):
        raise RequestError(400, "the target of a request is a path here")
    return Request(parser.get_method().decode(), found.target.decode(), found.headers)
