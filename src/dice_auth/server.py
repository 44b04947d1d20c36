"""The attestation server as a process: socket, HTTP by uvicorn, signals, the end.

What is answered is `application`'s subject.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dice_auth.application import Application
from dice_auth.listening import open_listener
from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry
from dice_auth.structured_log import log_event, log_to_stderr

HEADER_TIMEOUT_S = 10.0
KEEP_ALIVE_TIMEOUT_S = 30
SHUTDOWN_DEADLINE_S = 10
# How long a starting server waits for the first look at what others wrote into the registry.
_CATCH_UP_S = 2.0

Ready = Callable[[str, int], None]


async def serve(registry_url: str, host: str, port: int, *, ready: Ready | None = None) -> None:
    """Serve until SIGTERM, SIGINT or cancellation; returns when the last answer is out.

    port 0 takes a free one. ready(host, port) is called once the socket listens, with the
    address it really has. Raises RegistryUrlError, RegistryError or ListenError, each a line.
    """
    log_to_stderr()
    registry = open_registry(registry_url)
    try:
        listener = open_listener(host, port)
        await _serve_on(listener, registry, ready)
    finally:
        await registry.close()


async def _serve_on(listener: socket.socket, registry: Registry, ready: Ready | None) -> None:
    caught_up = asyncio.Event()
    following = asyncio.create_task(registry.follow(caught_up.set))
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_S):
                await caught_up.wait()
        config = uvicorn.Config(
            Application(registry),
            http=_HttpProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
            timeout_graceful_shutdown=SHUTDOWN_DEADLINE_S,
        )
        server = _Server(config, ready)
        try:
            await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            if server.started:
                await server.shutdown(sockets=[listener])
            raise
    finally:
        listener.close()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


class _Server(uvicorn.Server):
    """Says when it listens, and ends on a signal without raising it again: exit code 0."""

    def __init__(self, config: uvicorn.Config, ready: Ready | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            log_event("listening", host=host, port=port)
            if self._ready is not None:
                self._ready(host, port)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = []
        for number in (signal.SIGTERM, signal.SIGINT):
            # Signals reach the main thread only; elsewhere the caller cancels the task.
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self._end)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


class _HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for request headers, which it has not: a client that
    connects and stays silent, or sends its headers a byte a minute, is closed."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_deadline()

    def on_headers_complete(self) -> None:
        self._stop_deadline()
        super().on_headers_complete()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self._too_late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        peer = f"{self.client[0]}:{self.client[1]}" if self.client else None
        log_event("headers-timeout", peer=peer)
        # abort: what may be queued goes to a client that does not read or does not speak.
        self.transport.abort()
