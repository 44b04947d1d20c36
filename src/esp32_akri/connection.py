"""One HTTP connection: what a client may send, and what it is given to take.

microdot parses and routes; this keeps a client from holding the board's memory or its attention:
a request has a deadline, a number of bytes and of header lines.
"""

import asyncio

from microdot import Request

from ota_service.compat import close_stream, const

REQUEST_S = 5
ANSWER_S = 30
_MAX_HEAD_BYTES = const(4096)
_MAX_HEADERS = const(64)
_CHUNK_BYTES = const(512)
_BAD_REQUEST = const(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 12\r\n\r\nBad request\n")

# microdot takes 16 KiB, and a board with seven connections has no such memory. An application
# whose own endpoints need more sets it higher.
Request.max_content_length = 1024


class BadRequest(Exception):
    """What came is not an HTTP request we take."""


class BoundedReader:
    """The reader microdot parses a request from. Raises BadRequest over a limit, or at an end
    that comes too early."""

    def __init__(self, reader):
        self._reader = reader
        self._buffer = b""
        self._head_bytes = 0
        self._lines = 0

    async def readline(self):
        """The next line with its newline, b"" at the end."""
        while b"\n" not in self._buffer:
            if self._head_bytes + len(self._buffer) > _MAX_HEAD_BYTES:
                raise BadRequest("head over %d bytes" % _MAX_HEAD_BYTES)
            chunk = await self._reader.read(_CHUNK_BYTES)
            if not chunk:
                break
            self._buffer += chunk
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        self._head_bytes += end
        self._lines += 1
        if self._lines > _MAX_HEADERS:
            raise BadRequest("over %d header lines" % _MAX_HEADERS)
        return line

    async def readexactly(self, size):
        """`size` bytes of the body; microdot asks for no more than its own limit."""
        if size < 0:
            raise BadRequest("Content-Length %d" % size)
        while len(self._buffer) < size:
            chunk = await self._reader.read(min(size - len(self._buffer), _CHUNK_BYTES))
            if not chunk:
                raise BadRequest("the body ends early")
            self._buffer += chunk
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return body

    async def read(self, size=-1):
        """What is there of a body that microdot leaves to the handler, at most 512 bytes."""
        if not self._buffer:
            return await self._reader.read(_CHUNK_BYTES if size < 0 else min(size, _CHUNK_BYTES))
        size = len(self._buffer) if size < 0 else size
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        return piece


class _Writer:
    """What microdot writes an answer to, on both runtimes."""

    def __init__(self, writer):
        self._writer = writer

    async def awrite(self, data):
        self._writer.write(data)
        await self._writer.drain()


async def serve(app, reader, writer):
    """Read one request, answer it, close. Ends quietly whatever the client does."""
    try:
        await _answer(app, reader, writer)
    except (OSError, MemoryError, asyncio.TimeoutError):
        pass
    finally:
        await close_stream(writer)


async def _answer(app, reader, writer):
    out = _Writer(writer)
    peer = writer.get_extra_info("peername")
    try:
        request = await asyncio.wait_for(
            Request.create(app, BoundedReader(reader), writer, peer), REQUEST_S
        )
    except (BadRequest, ValueError, IndexError):
        # ValueError and IndexError are microdot's, for lines it cannot take apart.
        await asyncio.wait_for(out.awrite(_BAD_REQUEST), ANSWER_S)
        return
    if request is None:
        return
    response = await app.dispatch_request(request)
    await asyncio.wait_for(response.write(out), ANSWER_S)
