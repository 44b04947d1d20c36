"""The admin port: HTTP for people and programs that look after the agent, GET and HEAD alone.

By the reader and the answers of protocol 2, one request a connection. Where there is one worker,
this runs in the event loop of the boards: how many connections there are, how many come in a
second, how large a request may be and how long all of it may take has bounds, so that whatever is
done to this port is felt here alone.
"""

import asyncio
import logging
import socket
from contextlib import suppress

from ota_agent import http_answer
from ota_agent.admin_host import is_loopback, names_loopback
from ota_agent.admin_pages import PATHS, AdminPages, BadQuery, Busy
from ota_agent.http_request import Request, RequestError, RequestReader
from ota_agent.structured_log import log_event

_MOST_CONNECTIONS = 64
_ACCEPTED_A_TURN = 8
# Connections a second, as many at once; more wait in the kernel.
_ACCEPTED_A_SECOND = 200
_PAUSE_S = 0.05
_REQUEST_S = 5.0
_ANSWER_S = 10.0
_CLOSING_S = 1.0
_READ_BYTES = 4096
# Of a client that goes on sending after its answer.
_READ_AWAY_BYTES = 64 * 1024
_HEADERS = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"


class AdminPort:
    """listener: a non-blocking listening socket, its owner's. In an event loop until `close`."""

    def __init__(self, listener: socket.socket, pages: AdminPages) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._pages = pages
        self._is_for_loopback = is_loopback(listener.getsockname()[0])
        self._connections: set[asyncio.Task[None]] = set()
        # Those whose request is not there yet, the first that came first.
        self._reading: dict[asyncio.Task[None], None] = {}
        self._left = float(_ACCEPTED_A_SECOND)
        self._then = self._loop.time()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    async def close(self) -> None:
        """Nobody is answered any more."""
        self._loop.remove_reader(self._listener.fileno())
        if self._pause is not None:
            self._pause.cancel()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _listen(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        now = self._loop.time()
        self._left = min(_ACCEPTED_A_SECOND, self._left + (now - self._then) * _ACCEPTED_A_SECOND)
        self._then = now
        for _ in range(_ACCEPTED_A_TURN):
            if self._left < 1 or not self._has_room():
                self._wait()
                return
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self._wait()
                return
            self._left -= 1
            sock.setblocking(False)
            task = self._loop.create_task(self._serve(sock))
            self._connections.add(task)
            self._reading[task] = None
            task.add_done_callback(self._ended)

    def _has_room(self) -> bool:
        """For one more; who has been slowest to ask makes room."""
        if len(self._connections) < _MOST_CONNECTIONS:
            return True
        slowest = next(iter(self._reading), None)
        if slowest is None:
            return False
        del self._reading[slowest]
        return slowest.cancel()

    def _wait(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._pause = self._loop.call_later(_PAUSE_S, self._listen)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._connections.discard(task)
        self._reading.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            reason = f"{type(error).__name__}: {error}"
            log_event("admin-failed", level=logging.ERROR, reason=reason)

    async def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):  # TimeoutError is one of them
            try:
                async with asyncio.timeout(_REQUEST_S):
                    request = await self._read(sock)
                if request is None:
                    return
                self._has_read()
                answer = await self._answer(request)
            except RequestError as error:
                self._has_read()
                answer = http_answer.problem(error.status, str(error), _HEADERS, is_last=True)
            async with asyncio.timeout(_ANSWER_S):
                await self._loop.sock_sendall(sock, answer)
            sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_CLOSING_S):
                await self._read_away(sock)

    def _has_read(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._reading.pop(task, None)

    async def _read(self, sock: socket.socket) -> Request | None:
        """None: closed without one. Raises RequestError."""
        reader = RequestReader()
        while True:
            request = reader.next_request()
            if request is not None:
                return request
            if reader.take_continue():
                await self._loop.sock_sendall(sock, http_answer.CONTINUE)
            piece = await self._loop.sock_recv(sock, _READ_BYTES)
            if not piece:
                return None
            reader.feed(piece)

    async def _read_away(self, sock: socket.socket) -> None:
        """Until the client has closed: what lies unread would reset the answer on its way."""
        count = 0
        while count < _READ_AWAY_BYTES and (piece := await self._loop.sock_recv(sock, _READ_BYTES)):
            count += len(piece)

    async def _answer(self, request: Request) -> bytes:
        is_head = request.method == "HEAD"
        path, _, query = request.path.partition("?")

        def problem(status: int, detail: str, headers: str = "") -> bytes:
            headers = _HEADERS + headers
            return http_answer.problem(status, detail, headers, is_last=True, is_head=is_head)

        host = request.headers[b"host"].decode("latin-1")
        if self._is_for_loopback and not names_loopback(host):
            return problem(421, "this is localhost, which the request's Host is not")
        if path not in PATHS:
            return problem(404, f"paths are {', '.join(PATHS[:-1])} and {PATHS[-1]}")
        if request.method not in ("GET", "HEAD"):
            return problem(405, f"{path} is for GET and HEAD", "Allow: GET, HEAD\r\n")
        try:
            status, kind, body = await self._pages.page(path, query)
        except BadQuery as error:
            return problem(400, str(error))
        except Busy:
            return problem(503, "too many ask at once", "Retry-After: 1\r\n")
        headers = f"{_HEADERS}Content-Type: {kind}\r\n"
        whole = http_answer.answer(status, headers, body, is_last=True)
        return whole[: len(whole) - len(body)] if is_head else whole
