"""Reading HTTP/1.1 responses (RFC 9112), fed with chunks; it never touches a socket.

Reads what protocol 2 needs and refuses the rest: a body has a Content-Length or there is none, a
head is small, no line is folded. Left to others: the body's bytes, which go where they belong
without a copy, and what a status means.
"""

from .compat import const
from .errors import OtaError

MAX_HEAD_BYTES = const(2048)
_MAX_LINE_BYTES = const(512)
# 1xx before the response itself (RFC 9110, 15.2): a few may come, nobody asked for them.
_MAX_INTERIM = const(3)
_MAX_LENGTH_DIGITS = const(9)
_KEPT = const(
    (
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "repr-digest",
        "retry-after",
        "transfer-encoding",
    )
)
# RFC 9110, 5.6.2: a name has these beside letters and digits
_NAME_MARKS = const(b"!#$%&'*+-.^_`|~")


class Response:
    """One response.

    request: what it answers, for messages. status: None until the first line has passed.
    headers: {name in lower case: value}, of those that protocol 2 looks at. body_left: bytes of
    the body that are still to come, None until the head is whole.
    """

    def __init__(self, request):
        self.request = request
        self.status = None
        self.headers = {}
        self.body_left = None
        self._line = bytearray()
        self._head_bytes = 0
        self._interim = 0

    def feed(self, chunk):
        """Take the head's next bytes; how many of the chunk they were. The rest is the body's.

        Raises OtaError("bad-answer") at the first byte that cannot be right, however the stream
        is cut.
        """
        for at in range(len(chunk)):
            if self.body_left is not None:
                return at
            self._take(chunk[at])
        return len(chunk)

    def take(self, count):
        """So many bytes of the body have been read. Raises OtaError("bad-answer") if there are
        not so many."""
        if count > self.body_left:
            raise self.bad("%d bytes follow the response" % (count - self.body_left))
        self.body_left -= count

    def bad(self, text):
        """The error to raise for something wrong with this response."""
        return OtaError("bad-answer", "%s: %s" % (self.request, text))

    def _take(self, byte):
        line = self._line
        self._head_bytes += 1
        if self._head_bytes > MAX_HEAD_BYTES:
            raise self.bad("a head of more than %d bytes" % MAX_HEAD_BYTES)
        ended = bool(line) and line[-1] == 0x0D
        if ended != (byte == 0x0A):
            raise self.bad("a line does not end with CR LF")
        if ended:
            self._line = bytearray()
            self._take_line(bytes(line[:-1]).decode())
        elif not (0x20 <= byte < 0x7F or byte in (0x0D, 0x09)):
            raise self.bad("byte 0x%02x in the head" % byte)
        elif len(line) == _MAX_LINE_BYTES:
            raise self.bad("a line of more than %d bytes" % _MAX_LINE_BYTES)
        else:
            line.append(byte)

    def _take_line(self, line):
        if self.status is None:
            self._take_status(line)
        elif line:
            self._take_header(line)
        elif self.status < 200:
            self._pass_interim()
        else:
            self._begin_body()

    def _take_status(self, line):
        """RFC 9112, 4; some leave out the space before a reason that is empty."""
        number = line[9:12]
        if line[:9] != "HTTP/1.1 " or not _is_number(number, 3) or line[12:13] not in ("", " "):
            raise self.bad("no status line of HTTP/1.1")
        self.status = int(number)
        if len(number) != 3 or self.status < 100:
            raise self.bad("no status line of HTTP/1.1")

    def _take_header(self, line):
        """RFC 9112, 5. A folded line begins with a space, which is in no name."""
        name, colon, value = line.partition(":")
        if not (colon and name and consists_of(name, _NAME_MARKS)):
            raise self.bad("a line of the head is no header")
        name = name.lower()
        if name in _KEPT:
            if name in self.headers:
                raise self.bad("two headers %s" % name)
            self.headers[name] = value.strip(" \t")

    def _pass_interim(self):
        self._interim += 1
        if self.status == 101 or self._interim > _MAX_INTERIM:
            raise self.bad("status %d, which nobody asked for" % self.status)
        self.status = None
        self.headers = {}

    def _begin_body(self):
        """RFC 9112, 6.3, without its guesses."""
        if "transfer-encoding" in self.headers:
            raise self.bad("a transfer coding, expected Content-Length")
        length = self.headers.get("content-length", "0" if self.status == 204 else "")
        if not _is_number(length, _MAX_LENGTH_DIGITS):
            raise self.bad("Content-Length %r, expected a number" % length[:20])
        self.body_left = int(length)
        if self.status == 204 and self.body_left:
            raise self.bad("204 with a body")


def _is_number(text, digits):
    return len(text) <= digits and text.isdigit()


def consists_of(text, marks):
    """Whether there is nothing in this text but ASCII letters, digits, and these marks (bytes).

    Looked at as bytes: MicroPython keeps every character that it has made a str of.
    """
    return all(
        # Letters in lower case, digits
        0x61 <= byte | 0x20 <= 0x7A or 0x30 <= byte <= 0x39 or byte in marks
        for byte in text.encode("ascii", "replace")
    )
