"""Where boards come in: accepting connections, and keeping their sessions until they end."""

import asyncio
import errno
import socket
from collections.abc import Iterable

from ota_agent.admission import Admission
from ota_agent.counts import SENDING
from ota_agent.service import Service
from ota_agent.session import Session, log_session
from ota_agent.structured_log import log_event

# Connections accepted before those there are have their turn.
_ACCEPTED_A_TURN = 32
# After accept() failed for want of descriptors or memory.
_ACCEPT_PAUSE_S = 0.1
_FAILURE_LINE_EVERY_S = 10.0
# How often sessions are looked at for deadlines: one look at all is cheaper than a timer each.
_DEADLINES_S = 0.25
# How often what is being sent is counted: one look at all is cheaper than a count for each piece.
_BYTES_S = 2.0


class Door:
    """listener: a non-blocking listening socket; its owner closes it after `close`."""

    def __init__(self, service: Service, listener: socket.socket, admission: Admission) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._listener = listener
        # For requests and answers, of all who come in here (tcp(7)): what is written goes out,
        # whatever is still under way.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._admission = admission
        self._sessions: dict[Session, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = False
        self._next_failure_line = 0.0
        self._next_bytes = 0.0
        self._empty = asyncio.Event()

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def all_sessions(self) -> Iterable[Session]:
        """The oldest first. Sessions come and go between two turns of the event loop."""
        return self._sessions

    def open(self) -> None:
        """Let boards in."""
        self._is_open = True
        self._listen()
        self._look_at_deadlines()

    def close(self) -> None:
        """Let nobody in any more, and refuse who comes; sessions go on."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def wait_until_empty(self) -> None:
        while self._sessions:
            self._empty.clear()
            await self._empty.wait()

    def finish_sessions(self) -> None:
        """Let those go on that have said who they are, and end the others."""
        for session in list(self._sessions):
            session.finish()

    def cancel_all(self) -> int:
        """End all sessions; how many boards that cut off."""
        if self._timer is not None:
            self._timer.cancel()
        return sum(session.cancel() for session in list(self._sessions))

    def _listen(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _log_failure(self, error: OSError) -> None:
        """Not at each try: a flood must not fill the log."""
        self._service.counts.accept_failed()
        now = self._loop.time()
        if now >= self._next_failure_line:
            self._next_failure_line = now + _FAILURE_LINE_EVERY_S
            log_event("accept-failed", reason=error.strerror)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # A client may be gone before it is accepted; want of resources passes.
                if error.errno in (errno.ECONNABORTED, errno.EPROTO):
                    continue
                self._log_failure(error)
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_ACCEPT_PAUSE_S, self._listen)
                return
            host = address[0]
            if not self._admission.enter(host, self._loop.time()):
                sock.close()
                continue
            name = f"[{host}]" if ":" in host else host
            self._start(sock, host, f"{name}:{address[1]}")

    def _start(self, sock: socket.socket, host: str, peer: str) -> None:
        try:
            sock.setblocking(False)
            # Who is gone already is told from who leaves in the handshake.
            sock.getpeername()
            session = Session(self._service, sock, peer, self._ended)
        except OSError as error:
            # Reset between accept() and here.
            self._admission.leave(host)
            sock.close()
            self._service.counts.session_ended(None, "connection-lost", 0.0)
            log_session(peer, "connection-lost", error.strerror or str(error))
            return
        self._sessions[session] = host

    def _ended(self, session: Session) -> None:
        self._admission.leave(self._sessions.pop(session))
        self._empty.set()

    def _look_at_deadlines(self) -> None:
        # The next time first: nothing that happens in a session may stop the clock.
        self._timer = self._loop.call_later(_DEADLINES_S, self._look_at_deadlines)
        now = self._loop.time()
        self._service.counts.beat(now)
        if now >= self._next_bytes:
            self._next_bytes = now + _BYTES_S
            for session in self._sessions:
                if session.state == SENDING:
                    session.count_bytes()
        for session in [each for each in self._sessions if each.deadline <= now]:
            session.expire()
