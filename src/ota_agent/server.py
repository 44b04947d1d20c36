"""The agent as a process: what it needs at start, the accepting of boards, signals, the end."""

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ota_agent.attestation import AttestationClient
from ota_agent.firmware import load_firmware
from ota_agent.listening import open_listener
from ota_agent.session import Service, Session
from ota_agent.settings import Settings
from ota_agent.structured_log import log_event, log_to_stderr
from ota_agent.tls import server_context

# After accept() failed for want of descriptors or memory.
_ACCEPT_PAUSE_S = 0.1

Ready = Callable[[str, int], None]


async def serve(settings: Settings, *, ready: Ready | None = None) -> None:
    """Serve boards until SIGTERM, SIGINT or cancellation.

    A signal lets running transfers finish, up to settings.shutdown_deadline_s; a second one
    does not. ready(host, port) is called once the socket listens, with its real address.
    Raises FirmwareError, CertificateError or ListenError, each a line, before it listens.
    """
    log_to_stderr()
    firmware = load_firmware(settings.firmware)
    context = server_context(settings.certificate, settings.key)
    listener = open_listener(settings.host, settings.port)
    listener.setblocking(False)
    with listener:
        async with AttestationClient(
            settings.dice_auth_url, settings.attestation_timeout_s
        ) as attestation:
            host, port = listener.getsockname()[:2]
            log_event(
                "listening",
                host=host,
                port=port,
                chip=firmware.chip,
                project=firmware.project,
                version=firmware.version,
                bytes=len(firmware.image),
                sha256=firmware.sha256,
            )
            agent = _Agent(Service(settings, context, firmware, attestation), listener)
            await agent.run(lambda: ready(host, port) if ready is not None else None)


class _Agent:
    """Accepts connections and keeps their sessions, each its own task."""

    def __init__(self, service: Service, listener: socket.socket) -> None:
        self._service = service
        self._listener = listener
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._signals = 0
        self._signalled = asyncio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        """started is called when boards are accepted and signals are handled."""
        accepting = asyncio.create_task(self._accept())
        try:
            with self._handle_signals():
                stopping = asyncio.create_task(self._signalled.wait())
                started()
                await asyncio.wait((accepting, stopping), return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                accepting.cancel()
                with suppress(asyncio.CancelledError):
                    await accepting
                self._listener.close()
                await self._finish_sessions()
        finally:
            accepting.cancel()
            await self._cancel_sessions(list(self._sessions))

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(self._listener)
            except OSError as error:
                # A client may be gone before it is accepted; want of resources passes.
                if error.errno not in (errno.ECONNABORTED, errno.EPROTO):
                    log_event("accept-failed", reason=error.strerror)
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            self._start_session(sock, f"{address[0]}:{address[1]}")

    def _start_session(self, sock: socket.socket, peer: str) -> None:
        limit = self._service.settings.max_connections
        if len(self._sessions) >= limit:
            sock.close()
            log_event("session", peer=peer, outcome="too-many-connections", reason=f"limit {limit}")
            return
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self._service, sock, peer)
        except OSError as error:
            # Reset between accept() and here.
            sock.close()
            log_event("session", peer=peer, outcome="connection-lost", reason=error.strerror)
            return
        task = asyncio.create_task(session.run())
        self._sessions[task] = session
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._sessions[task]
        if not task.cancelled() and task.exception() is not None:
            # A bug of ours: it cost this board its session, it must not cost the others theirs.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "session failed", "exception": task.exception(), "task": task}
            )

    async def _finish_sessions(self) -> None:
        """Wait for boards that have identified themselves, no longer than the deadline."""
        waiting = [task for task, session in self._sessions.items() if not session.identified]
        await self._cancel_sessions(waiting)
        if not self._sessions:
            return
        deadline_s = self._service.settings.shutdown_deadline_s
        log_event("finishing", sessions=len(self._sessions), deadline_s=deadline_s)
        again = asyncio.create_task(self._signalled_again())
        finished = asyncio.gather(*self._sessions, return_exceptions=True)
        await asyncio.wait(
            (again, finished), timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED
        )
        again.cancel()

    async def _signalled_again(self) -> None:
        while self._signals < 2:
            self._signalled.clear()
            await self._signalled.wait()

    async def _cancel_sessions(self, tasks: "list[asyncio.Task[None]]") -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = []
        for number in (signal.SIGTERM, signal.SIGINT):
            # Signals reach the main thread only; elsewhere the caller cancels the task.
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self._signal)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _signal(self) -> None:
        self._signals += 1
        self._signalled.set()
