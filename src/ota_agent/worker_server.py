"""The agent in several processes: workers that serve boards, and one with the admin port, which
no board can keep busy and which can keep no board waiting.

All that they share is made here, before they are: sockets, what is served, counts and limits.
"""

import asyncio
import gc
import logging
import socket
from contextlib import ExitStack
from functools import partial

from ota_agent.admin import AdminPort
from ota_agent.admin_pages import AdminPages
from ota_agent.admission import Admission
from ota_agent.asking import Answering, Channel
from ota_agent.asking import Workers as AskedWorkers
from ota_agent.counts import Counts
from ota_agent.errors import UnfinishedError
from ota_agent.listening import open_shared_listeners
from ota_agent.preparation import (
    Prepared,
    announce,
    hangups_outlived,
    open_admin_listener,
    prepare,
)
from ota_agent.server import Ready, agent_of, objects_kept
from ota_agent.session_list import SessionList
from ota_agent.settings import Settings
from ota_agent.shared_limits import SharedLimits
from ota_agent.structured_log import log_event, log_in_common, log_to_stderr, note_events
from ota_agent.workers import Role, Workers


def serve_with_workers(settings: Settings, *, ready: Ready | None = None) -> None:
    """As `server.serve`, in settings.workers processes. To be called from the main thread of a
    process without an event loop and other threads."""
    log_to_stderr()
    with ExitStack() as opened:
        opened.enter_context(hangups_outlived())
        prepared = asyncio.run(prepare(settings))
        shared = _Shared(prepared, opened)
        where = announce(prepared, shared.listeners[0])
        opened.callback(note_events, None)
        note_events(shared.counts.row(settings.workers).note_event)
        # What there is now is never changed, and so stays in memory once for all.
        gc.collect()
        opened.enter_context(objects_kept())
        workers = Workers(
            shared.roles(where),
            deadline_s=settings.shutdown_deadline_s,
            ending=shared.close_listeners,
            look=partial(_look, prepared),
        )
        workers.run(lambda: ready(*where) if ready is not None else None)
    cut_off = int(shared.counts.total("cut_off"))
    if cut_off:
        raise UnfinishedError(cut_off)


def _look(prepared: Prepared) -> None:
    """A new worker begins with what is to be served now, not with what was there at the start."""

    async def look() -> None:
        prepared.firmware.refresh()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    prepared.certificate.refresh()
    try:
        asyncio.run(look())
    except OSError as error:
        # Out of descriptors, say: who watches goes on, and the next worker looks for itself.
        log_event("firmware-not-loaded", level=logging.ERROR, reason=error.strerror)


class _Shared:
    """What the processes have in common; opened: who closes it."""

    def __init__(self, prepared: Prepared, opened: ExitStack) -> None:
        settings = prepared.settings
        count = settings.workers
        self._prepared = prepared
        self.listeners = open_shared_listeners(settings.host, settings.port, count)
        opened.callback(self.close_listeners)
        self._admin = open_admin_listener(settings)
        if self._admin is not None:
            opened.enter_context(self._admin)
        self.counts = Counts(count)
        self._limits = SharedLimits(count, settings)
        opened.callback(self._limits.close)
        self._channels = [Channel() for _ in range(count)]
        for channel in self._channels:
            opened.callback(channel.close)
        self._is_ending = False

    def close_listeners(self) -> None:
        """The agent ends: nobody is to wait in a socket that no worker looks at."""
        self._is_ending = True
        for listener in self.listeners:
            listener.close()

    def roles(self, where: tuple[str, int]) -> list[Role]:
        roles = [
            Role(
                f"worker {worker}",
                partial(self._work, worker),
                partial(self._died, worker),
                partial(self.counts.worker_restarted, worker),
            )
            for worker in range(self.counts.workers)
        ]
        if self._admin is not None:
            work = partial(self._answer, self._admin, where)
            roles.append(Role("admin port", work, lambda: None, is_server=False))
        return roles

    def _died(self, worker: int) -> None:
        self.counts.worker_died(worker, is_ending=self._is_ending)
        self._limits.worker_died(worker)

    # In a worker

    def _work(self, worker: int, alone: int) -> None:
        # A socket takes connections as long as any process has it open.
        for other, (listener, channel) in enumerate(
            zip(self.listeners, self._channels, strict=True)
        ):
            if other != worker:
                listener.close()
                channel.close()
        if self._admin is not None:
            self._admin.close()
        log_in_common(worker=worker)
        row = self.counts.row(worker)
        note_events(row.note_event)
        try:
            asyncio.run(self._serve(worker, alone))
        except UnfinishedError as error:
            row.cut_off(error.cut_off)

    async def _serve(self, worker: int, alone: int) -> None:
        prepared, limits = self._prepared, self._limits
        settings, row = prepared.settings, self.counts.row(worker)
        admission = Admission(
            prepared.most,
            settings.max_connections_per_address,
            settings.accept_rate,
            tally=limits.tally(worker),
            most_here=prepared.most_here,
            turn_away=row.turned_away,
        )
        async with agent_of(
            prepared,
            self.listeners[worker],
            row,
            admission,
            challenges=limits.challenges(),
            pace=limits.pace(worker),
        ) as agent:
            answering = Answering(
                self._channels[worker], SessionList(worker, agent.service, agent.door)
            )
            try:
                await agent.run(lambda: None, alone)
            finally:
                answering.close()

    # In the process with the admin port

    def _answer(self, admin: socket.socket, where: tuple[str, int], alone: int) -> None:
        self.close_listeners()
        asyncio.run(self._serve_admin(admin, where, alone))

    async def _serve_admin(self, admin: socket.socket, where: tuple[str, int], alone: int) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(alone, ended.set)
        pages = AdminPages(self.counts, AskedWorkers(self._channels), where)
        port = AdminPort(admin, pages)
        try:
            await ended.wait()
        finally:
            await port.close()
