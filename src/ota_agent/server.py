"""The agent as a process: signals, what it does every second, the end."""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import TYPE_CHECKING

from ota_agent.address_rate import Rate
from ota_agent.admin import AdminPort
from ota_agent.admin_pages import AdminPages
from ota_agent.admission import Admission
from ota_agent.asking import OwnSessions
from ota_agent.attestation import AttestationClient
from ota_agent.counts import ABSENT, FINISHING, SERVING, Counts, Row
from ota_agent.door import Door
from ota_agent.errors import UnfinishedError
from ota_agent.listening import open_listener
from ota_agent.pacing import Pace
from ota_agent.preparation import (
    Prepared,
    announce,
    hangups_outlived,
    open_admin_listener,
    prepare,
)
from ota_agent.readiness import Readiness
from ota_agent.service import Service
from ota_agent.session_list import SessionList
from ota_agent.settings import Settings
from ota_agent.structured_log import log_event, log_to_stderr, note_events
from ota_agent.workers import CUT_OFF

if TYPE_CHECKING:
    from ota_agent.oci_puller import Puller

# How often files are looked at for changes.
_REFRESH_S = 1.0
# How often those turned away at the door are told, if there are any.
_TURNED_AWAY_S = 10.0
# Objects made and not freed before the garbage collector looks.
_COLLECT_AFTER = 50_000

Ready = Callable[[str, int], None]


async def serve(settings: Settings, *, ready: Ready | None = None) -> None:
    """Serve boards in this process until SIGTERM, SIGINT or cancellation.

    A signal lets running transfers finish, up to settings.shutdown_deadline_s; a second one
    does not. SIGHUP looks at once whether certificate or firmware have changed; every second
    (at a registry: every settings.oci_interval_s) that is done anyway. ready(host, port) is called
    once the socket listens, with its real address. Raises FirmwareError, PullError,
    CertificateError or ListenError, each a line, before it listens, and UnfinishedError if
    transfers were cut off at the end.
    """
    log_to_stderr()
    with ExitStack() as opened:
        opened.enter_context(hangups_outlived())
        prepared = await prepare(settings)
        counts = Counts()
        row = counts.row(0)
        listener = opened.enter_context(open_listener(settings.host, settings.port))
        admin = open_admin_listener(settings)
        if admin is not None:
            opened.enter_context(admin)
        host, port = announce(prepared, listener)
        opened.callback(note_events, None)
        note_events(row.note_event)
        opened.enter_context(objects_kept())
        admission = Admission(
            prepared.most,
            settings.max_connections_per_address,
            settings.accept_rate,
            turn_away=row.turned_away,
        )
        async with agent_of(prepared, listener, row, admission) as agent:
            pages = AdminPages(
                counts, OwnSessions(SessionList(0, agent.service, agent.door)), (host, port)
            )
            port_of_admin = AdminPort(admin, pages) if admin is not None else None
            try:
                await agent.run(lambda: ready(host, port) if ready is not None else None)
            finally:
                if port_of_admin is not None:
                    await port_of_admin.close()


@contextmanager
def objects_kept() -> Iterator[None]:
    """What there is now stays to the end: the collector need not look at it again, and sessions
    leave no cycles for it."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


@asynccontextmanager
async def agent_of(
    prepared: Prepared,
    listener: socket.socket,
    row: Row,
    admission: Admission,
    *,
    challenges: Rate | None = None,
    pace: Pace | None = None,
) -> AsyncIterator["Agent"]:
    """One that runs in this event loop. challenges, pace: as Service has them."""
    settings = prepared.settings
    listener.setblocking(False)
    attestation = AttestationClient(
        settings.dice_auth_url, settings.attestation_timeout_s, prepared.access, row
    )
    readiness = Readiness()
    service = Service(
        settings,
        prepared.certificate,
        prepared.firmware,
        attestation,
        readiness,
        row,
        shared_challenges=challenges,
        shared_pace=pace,
    )
    try:
        yield Agent(service, Door(service, listener, admission), admission, prepared.puller)
    finally:
        attestation.close()
        readiness.close()


class Agent:
    """The life of a process around its door. service, door: its own."""

    def __init__(
        self, service: Service, door: Door, admission: Admission, puller: "Puller | None" = None
    ) -> None:
        self.service = service
        self.door = door
        self._puller = puller
        self._admission = admission
        self._signals = 0
        self._is_alone = False
        self._signalled = asyncio.Event()
        self._refresh = asyncio.Event()

    async def run(self, started: Callable[[], None], alone: int | None = None) -> None:
        """started is called when boards are accepted and signals are handled. alone: in a worker,
        a descriptor that becomes readable when nobody watches it any more."""
        loop = asyncio.get_running_loop()
        self.door.open()
        self.service.counts.live(SERVING, loop.time())
        background = [
            asyncio.create_task(self._watch_files()),
            asyncio.create_task(self._tell_turned_away()),
        ]
        if self._puller is not None:
            background.append(asyncio.create_task(self._puller.run()))
        try:
            with self._handle_signals() if alone is None else self._handle_as_worker(alone):
                started()
                await self._signalled.wait()
                self.door.close()
                await self._finish_sessions()
        finally:
            for task in background:
                task.cancel()
            self.door.close()
            self.door.cancel_all()
            self.service.counts.live(ABSENT, 0.0)
            self._log_turned_away()

    async def _finish_sessions(self) -> None:
        """Wait for boards that have identified themselves, no longer than the deadline."""
        self.service.is_finishing = True
        self.service.counts.live(FINISHING, asyncio.get_running_loop().time())
        self.door.finish_sessions()
        if not self.door.sessions:
            return
        deadline_s = self.service.settings.shutdown_deadline_s
        log_event("finishing", sessions=self.door.sessions, deadline_s=deadline_s)
        again = asyncio.create_task(self._signalled_again())
        finished = asyncio.create_task(self.door.wait_until_empty())
        await asyncio.wait(
            (again, finished), timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED
        )
        again.cancel()
        finished.cancel()
        cut_off = self.door.cancel_all()
        if cut_off:
            raise UnfinishedError(cut_off)

    async def _signalled_again(self) -> None:
        while self._signals < 2:
            self._signalled.clear()
            await self._signalled.wait()

    async def _watch_files(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_S):
                    await self._refresh.wait()
            self._refresh.clear()
            self.service.certificate.refresh()
            self.service.firmware.refresh()

    async def _tell_turned_away(self) -> None:
        while True:
            await asyncio.sleep(_TURNED_AWAY_S)
            self._log_turned_away()

    def _log_turned_away(self) -> None:
        counts = self._admission.take_count()
        if counts:
            log_event("turned-away", **counts)

    def _handle_signals(self) -> AbstractContextManager[None]:
        return self._handle(
            {
                signal.SIGTERM: self._signal,
                signal.SIGINT: self._signal,
                signal.SIGHUP: self._look_now,
            }
        )

    @contextmanager
    def _handle_as_worker(self, alone: int) -> Iterator[None]:
        """A terminal and systemd tell all processes of a group, and so does who watches: that a
        signal comes twice is no impatience. Who watches says so by a signal of its own."""
        loop = asyncio.get_running_loop()
        loop.add_reader(alone, self._alone, alone)
        handlers = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGHUP: self._look_now,
            CUT_OFF: self._cut_off,
        }
        with self._handle(handlers):
            yield
        loop.remove_reader(alone)

    @contextmanager
    def _handle(self, handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = []
        for number, handler in handlers.items():
            # Signals reach the main thread only; elsewhere the caller cancels the task.
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, handler)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _look_now(self) -> None:
        self._refresh.set()
        if self._puller is not None:
            self._puller.look_now()

    def _signal(self) -> None:
        self._signals += 1
        self._signalled.set()

    def _end(self) -> None:
        if not self._signals or self._is_alone:
            self._signal()

    def _cut_off(self) -> None:
        self._signals += 1
        self._signal()

    def _alone(self, alone: int) -> None:
        asyncio.get_running_loop().remove_reader(alone)
        self._end()
        self._is_alone = True
