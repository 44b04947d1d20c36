"""The three requests of protocol 2, and what an agent answers to them (protocol.md, section C).

Only moves bytes between a connection and a session; how long it may take is its caller's part,
and reading heads `http_response`'s.
"""

import asyncio
import json
from binascii import a2b_base64, hexlify, unhexlify

from . import compat
from .compat import const
from .errors import OtaError, PeerError
from .http_response import Response

_BUFFER_BYTES = const(512)
_NONCE_BYTES = const(32)
_DIGEST_BYTES = const(32)
_MAX_BODY_BYTES = const(1024)
_MAX_SHOWN = const(120)
_MAX_RETRY_AFTER_S = const(86400)
_CHALLENGE = const("GET /v2/challenge")
_ATTEST = const("POST /v2/attest")
_FIRMWARE = const("GET /v2/firmware")

# (request, or None for any; status; code; whether another attempt may help)
_REFUSALS = const(
    (
        (_FIRMWARE, 401, "token-refused", True),  # a token lives a minute
        (_FIRMWARE, 404, "no-firmware", False),
        (_ATTEST, 401, "attestation-refused", False),
        (None, 403, "board-not-allowed", False),
        (None, 429, "agent-busy", True),
        (None, 503, "agent-busy", True),
    )
)


def challenge_request(host):
    """The first request, which goes with the handshake. host: for the Host header."""
    return _request(_CHALLENGE, host)


def _request(what, host, headers=""):
    return ("%s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (what, host, headers)).encode()


class Agent:
    """What an agent at the other end of a connection answers.

    host: for the Host header. Raises PeerError and OtaError, whose message carries what the agent
    said of it (RFC 9457). Reads through 512 bytes of its own; firmware beyond that goes straight
    into the session's room.
    """

    def __init__(self, reader, writer, host):
        self._reader = reader
        self._writer = writer
        self._host = host
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._from = self._to = 0

    async def challenge(self):
        """The nonce, 32 bytes; `challenge_request` has been sent."""
        response = await self._response(_CHALLENGE)
        await self._require(response, (200,))
        nonce = await self._body(response)
        if len(nonce) != _NONCE_BYTES:
            raise response.bad("a nonce of %d bytes, expected %d" % (len(nonce), _NONCE_BYTES))
        return nonce

    async def attest(self, evidence):
        """(token, verdict) for this evidence; the verdict is None where the agent tells none."""
        headers = "Content-Type: application/eat+cwt\r\nContent-Length: %d\r\n" % len(evidence)
        await self._send(_request(_ATTEST, self._host, headers) + evidence)
        response = await self._response(_ATTEST)
        await self._require(response, (200,))
        answer = _json_object(await self._body(response))
        token, verdict = answer.get("token"), answer.get("verdict")
        if not (isinstance(token, str) and _is_token68(token)):
            raise response.bad("no token")
        return token, _shown(verdict) if isinstance(verdict, str) else None

    async def open_firmware(self, token, session):
        """Ask for the firmware from where the session stands, or whole; the Response whose body
        `receive` reads. Raises OtaError("up-to-date") where there is nothing newer."""
        response = await self._ask_firmware(token, session)
        if response.status == 416 and session.received:
            await self._body(response)
            session.restart()
            response = await self._ask_firmware(token, session)
        await self._require(response, (200, 204, 206))
        if response.status == 204:
            session.up_to_date()
            error = OtaError("up-to-date", "the agent has nothing newer for this board")
            error.pause_s = None
            raise error
        digest = _etag(response)
        if digest is None or digest != _repr_digest(response):
            raise response.bad("ETag and Repr-Digest: expected the same SHA-256 in both")
        offset = 0
        if response.status == 206:
            offset = session.received
            if not offset or digest != session.digest:
                raise response.bad("206 for another image, or without having been asked for")
            self._require_range(response, offset)
        session.announced(digest, offset, offset + response.body_left)
        return response

    async def _ask_firmware(self, token, session):
        headers = "Authorization: Bearer %s\r\n" % token
        if session.received:
            digest = hexlify(session.digest).decode()
            headers += 'Range: bytes=%d-\r\nIf-Range: "%s"\r\n' % (session.received, digest)
        await self._send(_request(_FIRMWARE, self._host, headers))
        return await self._response(_FIRMWARE)

    def _require_range(self, response, offset):
        total = offset + response.body_left
        expected = "bytes %d-%d/%d" % (offset, total - 1, total)
        if response.headers.get("content-range") != expected:
            raise response.bad("Content-Range: expected %s" % expected)

    async def receive(self, response, session, patience, read_s, on_progress):
        """Feed the session with the firmware. read_s: seconds without a byte, once the first has
        come. Allocates a coroutine a read, and nothing for the bytes of a full sector."""
        while response.body_left:
            room = session.room()
            if len(room) > response.body_left:
                room = room[: response.body_left]
            count = self._take_buffered(room) or await self._read(room)
            if patience.waits_for == "no data":
                patience.renew()
            else:
                patience.expect("no data", read_s)
            response.take(count)
            session.take(count)
            on_progress(session.received, session.total)
            await asyncio.sleep(0)
        self._require_no_more(response)
        session.end_of_body()

    # -- requests and responses ---------------------------------------------------------------

    async def _send(self, data):
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise _lost(error)

    async def _response(self, request):
        """The response whose head has come."""
        response = Response(request)
        while response.body_left is None:
            if self._from == self._to:
                self._from, self._to = 0, await self._read(self._buffer)
            self._from += response.feed(self._buffer[self._from : self._to])
        return response

    async def _body(self, response):
        """A whole body of at most 1024 bytes."""
        size = response.body_left
        if size > _MAX_BODY_BYTES:
            raise response.bad("a body of %d bytes, at most %d" % (size, _MAX_BODY_BYTES))
        body = bytearray(size)
        view = memoryview(body)
        while response.body_left:
            room = view[size - response.body_left :]
            response.take(self._take_buffered(room) or await self._read(room))
        self._require_no_more(response)
        return bytes(body)

    def _take_buffered(self, room):
        """Move what is left in the buffer into the room; how much that was."""
        count = min(len(room), self._to - self._from)
        room[:count] = self._buffer[self._from : self._from + count]
        self._from += count
        return count

    def _require_no_more(self, response):
        response.take(self._to - self._from)  # nothing was asked for that could follow

    async def _read(self, view):
        try:
            count = await compat.read_into(self._reader, view)
        except OSError as error:
            raise _lost(error)
        if not count:
            raise PeerError("connection-lost", "the agent closed the connection")
        return count

    async def _require(self, response, statuses):
        """Raises the error for a status that is none of these."""
        status = response.status
        if status in statuses:
            return
        said = await self._problem(response)
        text = "%s: %d%s" % (response.request, status, said)
        code, may_retry = "agent-refused", False
        if status >= 500:
            code, may_retry = "agent-error", True
        for request, number, name, again in _REFUSALS:
            if number == status and request in (None, response.request):
                code, may_retry = name, again
                break
        error = (PeerError if may_retry else OtaError)(code, text)
        error.pause_s = _retry_after_s(response)
        raise error

    async def _problem(self, response):
        """What a problem document says (RFC 9457, 3.1), as `: title: detail`."""
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/problem+json":
            return ""
        try:
            problem = _json_object(await self._body(response))
        except OtaError:
            return ""
        said = [problem.get(name) for name in ("title", "detail")]
        return "".join([": " + _shown(text) for text in said if isinstance(text, str) and text])


def _lost(error):
    text = "the connection broke: %s" % compat.tls().reason(error)
    return PeerError("connection-lost", text)


def _json_object(body):
    """The dict that a body is, an empty one if it is none."""
    try:
        value = json.loads(body.decode())
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        return {}
    return value if isinstance(value, dict) else {}


def _shown(text):
    """A stranger's text: one line that is not too long."""
    return "".join([c if " " <= c <= "~" else "?" for c in text[:_MAX_SHOWN]])


def _is_token68(text):
    """RFC 9110, 11.2; what goes into a header of ours."""
    return 0 < len(text) <= 256 and all(
        "a" <= c <= "z" or "A" <= c <= "Z" or "0" <= c <= "9" or c in "-._~+/=" for c in text
    )


def _etag(response):
    """The SHA-256 that the ETag is, None if it is none."""
    etag = response.headers.get("etag", "")
    if len(etag) != 2 * _DIGEST_BYTES + 2 or etag[0] != '"' or etag[-1] != '"':
        return None
    try:
        return unhexlify(etag[1:-1])
    except ValueError:
        return None


def _repr_digest(response):
    """The SHA-256 of a Repr-Digest header (RFC 9530, 3), None without one."""
    for member in response.headers.get("repr-digest", "").split(","):
        name, _, value = member.strip(" \t").partition("=")
        if name == "sha-256" and value[:1] == ":" and value[-1:] == ":":
            try:
                return a2b_base64(value[1:-1])
            except ValueError:
                return None
    return None


def _retry_after_s(response):
    """Seconds; a date there (RFC 9110, 10.2.3) is of no use without a clock."""
    text = response.headers.get("retry-after", "")
    if not 0 < len(text) <= 9 or not all("0" <= c <= "9" for c in text):
        return 0
    return min(int(text), _MAX_RETRY_AFTER_S)
