"""The three requests of protocol 2, and what an agent answers to them (protocol.md, section C).

Only reads and judges; how long it may take is its caller's part, reading heads `http_response`'s,
the firmware itself `firmware_body`'s, and what a refusal means `agent_refusals`'s.
"""

import json
from binascii import a2b_base64, hexlify, unhexlify

from .compat import const
from .errors import OtaError
from .firmware_body import lost, read_some
from .http_response import Response, consists_of

_BUFFER_BYTES = const(512)
_NONCE_BYTES = const(32)
_DIGEST_BYTES = const(32)
_MAX_BODY_BYTES = const(1024)
_MAX_SHOWN = const(120)
_CHALLENGE = const("GET /v2/challenge")
_ATTEST = const("POST /v2/attest")
_FIRMWARE = const("GET /v2/firmware")


def challenge_request(host):
    """The first request, which goes with the handshake. host: for the Host header."""
    return _request(_CHALLENGE, host)


def _request(what, host, headers=""):
    return ("%s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (what, host, headers)).encode()


class Agent:
    """What an agent at the other end of a connection answers.

    host: for the Host header. Raises PeerError and OtaError, whose message carries what the agent
    said of it (RFC 9457). Reads through 512 bytes of its own.
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
        answer = json_object(await self._body(response))
        token, verdict = answer.get("token"), answer.get("verdict")
        if not (isinstance(token, str) and _is_token68(token)):
            raise response.bad("no token")
        return token, shown(verdict) if isinstance(verdict, str) else None

    async def open_firmware(self, token, session):
        """Ask for the firmware from where the session stands, or whole. Returns (first bytes,
        length) of the response's body: what came with its head, at most 512 bytes, and how long it
        is with them. Raises OtaError("up-to-date") where there is nothing newer."""
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
                session.restart()  # else every later update would ask for the same and get the same
                raise response.bad("206 for another image, or without having been asked for")
            self._require_range(response, session)
        length = response.body_left
        first = bytes(self._buffer[self._from : self._to])
        response.take(len(first))
        session.announced(digest, offset, offset + length)
        return first, length

    async def _ask_firmware(self, token, session):
        headers = "Authorization: Bearer %s\r\n" % token
        if session.received:
            digest = hexlify(session.digest).decode()
            headers += 'Range: bytes=%d-\r\nIf-Range: "%s"\r\n' % (session.received, digest)
        await self._send(_request(_FIRMWARE, self._host, headers))
        return await self._response(_FIRMWARE)

    def _require_range(self, response, session):
        offset = session.received
        total = offset + response.body_left
        expected = "bytes %d-%d/%d" % (offset, total - 1, total)
        if response.headers.get("content-range") != expected:
            session.restart()
            raise response.bad("Content-Range: expected %s" % expected)

    # -- requests and responses ---------------------------------------------------------------

    async def _send(self, data):
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise lost(error)

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
        return await read_some(self._reader, view)

    async def _require(self, response, statuses):
        """Raises the error for a status that is none of these."""
        if response.status in statuses:
            return
        from . import agent_refusals

        said = b""
        if agent_refusals.is_problem(response):
            try:
                said = await self._body(response)
            except OtaError:
                pass  # the status says enough
        raise agent_refusals.from_response(response, json_object(said))


def json_object(body):
    """The dict that a body is, an empty one if it is none."""
    try:
        value = json.loads(body.decode())
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        return {}
    return value if isinstance(value, dict) else {}


def shown(text):
    """A stranger's text: one line that is not too long."""
    line = bytearray()
    for byte in text[:_MAX_SHOWN].encode("utf-8", "replace"):
        if byte & 0xC0 != 0x80:  # else a character goes on
            line.append(byte if 0x20 <= byte < 0x7F else 0x3F)
    return line.decode()


def _is_token68(text):
    """RFC 9110, 11.2; what goes into a header of ours."""
    return 0 < len(text) <= 256 and consists_of(text, b"-._~+/=")


def _etag(response):
    """The SHA-256 that the ETag is, None if it is none."""
    etag = response.headers.get("etag", "")
    if len(etag) != 2 * _DIGEST_BYTES + 2 or not (etag.startswith('"') and etag.endswith('"')):
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
