"""The attestation server as processes: sockets, HTTP by uvicorn, signals, the end.

What is answered is `application`'s subject.
"""

import asyncio
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn

from dice_auth.admin_gate import AdminGate
from dice_auth.application import Application
from dice_auth.attestation_endpoint import AttestationEndpoint
from dice_auth.http_protocol import KEEP_ALIVE_TIMEOUT_S, HttpProtocol, sweep
from dice_auth.listening import open_listener, open_shared_listeners
from dice_auth.metrics import Metrics
from dice_auth.observations import Observations
from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry
from dice_auth.settings import Settings, SettingsInUse
from dice_auth.structured_log import log_event, log_to_stderr
from dice_auth.workers import Workers

SHUTDOWN_DEADLINE_S = 10
# How long a starting server waits for the first look at what others wrote into the registry.
_CATCH_UP_S = 2.0
_MOST_DESCRIPTORS = 65_536

DEFAULT_SETTINGS = Settings()

Ready = Callable[[str, int], None]


async def serve(
    registry_url: str,
    host: str,
    port: int,
    *,
    settings: Settings = DEFAULT_SETTINGS,
    ready: Ready | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or cancellation; returns when the last answer is out.

    port 0 takes a free one. ready(host, port) is called once the socket listens, with the
    address it really has. Raises RegistryUrlError, RegistryError, SettingsError, PolicyError or
    ListenError, each a line.
    """
    log_to_stderr()
    _raise_descriptor_limit()
    in_use = SettingsInUse(settings)
    registry = open_registry(registry_url)
    try:
        await _serve_on(open_listener(host, port), registry, Metrics(), in_use, ready=ready)
    finally:
        await registry.close()


def serve_with_workers(
    registry_url: str,
    host: str,
    port: int,
    workers: int,
    *,
    settings: Settings = DEFAULT_SETTINGS,
    ready: Ready | None = None,
) -> bool:
    """As `serve`, in this many processes, until SIGTERM or SIGINT; see `Workers.run`."""
    log_to_stderr()
    _raise_descriptor_limit()
    # What is wrong with it is said once, here.
    in_use = SettingsInUse(settings)
    asyncio.run(open_registry(registry_url).close())
    if in_use.has_admin_api:
        import dice_auth.admin_api  # noqa: F401  # once, in memory that the workers share
    listeners = open_shared_listeners(host, port, workers)
    metrics = Metrics(workers)

    def close_listeners(but: int | None = None) -> None:
        for worker, listener in enumerate(listeners):
            if worker != but:
                listener.close()

    def work(worker: int, alone: int) -> None:
        # Each socket would take connections as long as any process has it open.
        close_listeners(but=worker)
        metrics.use_row(worker)
        asyncio.run(_serve_as_worker(registry_url, listeners[worker], metrics, in_use, alone))

    _announce(listeners[0], in_use, ready)
    try:
        return Workers(workers, work, ending=close_listeners).run()
    finally:
        close_listeners()


async def _serve_as_worker(
    registry_url: str,
    listener: socket.socket,
    metrics: Metrics,
    settings: SettingsInUse,
    alone: int,
) -> None:
    async with open_registry(registry_url) as registry:
        await _serve_on(listener, registry, metrics, settings, alone=alone)


async def _serve_on(
    listener: socket.socket,
    registry: Registry,
    metrics: Metrics,
    settings: SettingsInUse,
    *,
    ready: Ready | None = None,
    alone: int | None = None,
) -> None:
    """alone: a descriptor that is readable once nobody watches this worker any more."""
    observations = Observations(registry, metrics.count_dropped_observations)
    settings.look()  # a worker may begin long after the files were read
    host = listener.getsockname()[0]
    agents = AttestationEndpoint(
        registry, metrics, observations.note, settings.access(host), settings.policy
    )
    admin = _open_admin_api(registry, metrics, settings, host)
    application = Application(registry, metrics, observations.note, agents, admin)
    announce = partial(_announce, listener, settings, ready) if alone is None else None
    server = _Server(_config(application, metrics, settings.tls), announce, settings, alone)
    caught_up = asyncio.Event()
    tasks = [
        asyncio.create_task(work)
        for work in (
            registry.follow(caught_up.set),
            observations.write_regularly(),
            settings.look_regularly(),
            sweep(server),
        )
    ]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_S):
                await caught_up.wait()
        await server.run_on(listener)
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await observations.write()


def _open_admin_api(
    registry: Registry, metrics: Metrics, settings: SettingsInUse, host: str
) -> AdminGate | None:
    """None: there is none. Only a server that has one loads what it is made of."""
    if not settings.has_admin_api:
        return None
    from dice_auth.admin_api import open_admin_api

    return open_admin_api(registry, metrics, settings, host)


def _config(
    application: Application, metrics: Metrics, tls: ssl.SSLContext | None
) -> uvicorn.Config:
    protocol = partial(HttpProtocol, on_own_answer=metrics.count_answer)
    return uvicorn.Config(
        application,
        http=protocol,  # type: ignore[arg-type]  # called as the class would be
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # What it would say, in lines of its own form, is logged here or counted.
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
        timeout_graceful_shutdown=SHUTDOWN_DEADLINE_S,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
    )


class _Server(uvicorn.Server):
    """Says when it serves, and ends on a signal without raising it again: exit code 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[], None] | None,
        settings: SettingsInUse,
        alone: int | None,
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._settings = settings
        self._alone = alone

    async def run_on(self, listener: socket.socket) -> None:
        try:
            await self.serve(sockets=[listener])
        except asyncio.CancelledError:
            if self.started:
                await self.shutdown(sockets=[listener])
            raise

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        # Only now is a signal handled.
        if self._announce is not None:
            self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = []
        for number, handle in (
            (signal.SIGTERM, self._end),
            (signal.SIGINT, self._end),
            (signal.SIGHUP, partial(self._settings.look, force=True)),
        ):
            # Signals reach the main thread only; elsewhere the caller cancels the task.
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, handle)
                handled.append(number)
        if self._alone is not None:
            loop.add_reader(self._alone, self._end_alone, self._alone)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
            if self._alone is not None:
                loop.remove_reader(self._alone)

    def _end(self) -> None:
        # A worker is told twice where all of a group are told, by a terminal or by systemd: that
        # is no impatience, and requests under way are answered.
        self.force_exit = self.should_exit and self._alone is None
        self.should_exit = True

    def _end_alone(self, alone: int) -> None:
        asyncio.get_running_loop().remove_reader(alone)
        self.should_exit = True


def _announce(listener: socket.socket, settings: SettingsInUse, ready: Ready | None) -> None:
    host, port = listener.getsockname()[:2]
    log_event("listening", host=host, port=port, tls=settings.tls is not None)
    if closed := settings.closed(host):
        log_event("no-protocol-2", level=logging.WARNING, reason=closed)
    if settings.has_admin_api and (closed := settings.admin_closed(host)):
        log_event("no-admin-api", level=logging.WARNING, reason=closed)
    if ready is not None:
        ready(host, port)


def _raise_descriptor_limit() -> None:
    """A thousand silent clients must not use up what the others need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
