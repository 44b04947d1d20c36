"""Requests of protocol 2 over a connection, and the answers to them (protocol.md, section C).

Only sends, reads and judges; how long it may take is its caller's part. What is asked and answered
stands in `attest_answers` and `firmware_answers`; reading heads is `http_response`'s, the firmware
itself `firmware_body`'s, and what a refusal means `agent_refusals`'s.
"""

from .compat import const
from .errors import OtaError
from .firmware_body import lost, read_some
from .http_response import Response

_BUFFER_BYTES = const(512)
_MAX_BODY_BYTES = const(1024)


def request_bytes(what, host, headers=""):
    """A request without its body. headers: with CR LF behind each."""
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

    async def ask(self, what, headers="", body=b""):
        """Send a request; the response whose head has come. headers: with CR LF behind each."""
        try:
            self._writer.write(request_bytes(what, self._host, headers) + body)
            await self._writer.drain()
        except OSError as error:
            raise lost(error)
        return await self.response(what)

    async def response(self, what):
        """The response to a request that has been sent."""
        response = Response(what)
        while response.body_left is None:
            if self._from == self._to:
                self._from, self._to = 0, await self._read(self._buffer)
            self._from += response.feed(self._buffer[self._from : self._to])
        return response

    async def body(self, response):
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

    def first_bytes(self, response):
        """What has come of a body with its head, at most 512 bytes."""
        first = bytes(self._buffer[self._from : self._to])
        response.take(len(first))
        return first

    async def require(self, response, statuses):
        """Raises the error for a status that is none of these."""
        if response.status in statuses:
            return
        from . import agent_refusals
        from .attest_answers import json_object

        said = b""
        if agent_refusals.is_problem(response):
            try:
                said = await self.body(response)
            except OtaError:
                pass  # the status says enough
        raise agent_refusals.from_response(response, json_object(said))
