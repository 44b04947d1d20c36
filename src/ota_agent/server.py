"""The agent as a process: what it needs at start, signals, what it does every second, the end."""

import asyncio
import gc
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ota_agent.admission import Admission
from ota_agent.attestation import AttestationClient
from ota_agent.attestation_access import Access, read_access
from ota_agent.certificate_files import CertificateFiles
from ota_agent.door import Door
from ota_agent.errors import SettingsError, UnfinishedError
from ota_agent.firmware_file import FirmwareFile, log_firmware
from ota_agent.firmware_source import descriptors, open_firmware, puller_for
from ota_agent.listening import open_listener
from ota_agent.readiness import Readiness
from ota_agent.service import Service
from ota_agent.settings import Settings
from ota_agent.structured_log import log_event, log_to_stderr

if TYPE_CHECKING:
    from ota_agent.oci_puller import Puller

# How often files are looked at for changes.
_REFRESH_S = 1.0
# How often those turned away at the door are told, if there are any.
_TURNED_AWAY_S = 10.0
# Descriptors that are no board's: the listener, the attestation server's, the log.
_OTHER_DESCRIPTORS = 64
# Objects made and not freed before the garbage collector looks.
_COLLECT_AFTER = 50_000

Ready = Callable[[str, int], None]


async def serve(settings: Settings, *, ready: Ready | None = None) -> None:
    """Serve boards until SIGTERM, SIGINT or cancellation.

    A signal lets running transfers finish, up to settings.shutdown_deadline_s; a second one
    does not. SIGHUP looks at once whether certificate or firmware have changed; every second
    (at a registry: every settings.oci_interval_s) that is done anyway. ready(host, port) is called
    once the socket listens, with its real address. Raises FirmwareError, PullError,
    CertificateError or ListenError, each a line, before it listens, and UnfinishedError if
    transfers were cut off at the end.
    """
    log_to_stderr()
    thresholds = gc.get_threshold()
    puller = puller_for(settings)
    if puller is None:
        firmware = open_firmware(settings)
    certificate = CertificateFiles(settings.certificate, settings.key)
    access = _access(settings)
    if puller is not None:
        # It may take a while: what is wrong with the rest is told first.
        await puller.fill()
        firmware = open_firmware(settings, puller)
    most = _raise_descriptor_limit(settings.max_connections, descriptors(firmware))
    with open_listener(settings.host, settings.port) as listener:
        listener.setblocking(False)
        host, port = listener.getsockname()[:2]
        about = {"host": host, "port": port, "max_connections": most}
        if isinstance(firmware, FirmwareFile):
            log_firmware("listening", firmware.served[0], **about)
        else:
            images = len(firmware.served)
            log_event("listening", **about, catalogue=str(settings.firmware), images=images)
        if access.refusal:
            log_event("no-protocol-2", reason=access.refusal)
        attestation = AttestationClient(
            settings.dice_auth_url, settings.attestation_timeout_s, access
        )
        admission = Admission(most, settings.max_connections_per_address, settings.accept_rate)
        readiness = Readiness()
        service = Service(settings, certificate, firmware, attestation, readiness)
        agent = _Agent(service, Door(service, listener, admission), admission, puller)
        # What there is now stays to the end: the collector need not look at it again, and
        # sessions leave no cycles for it.
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        try:
            await agent.run(lambda: ready(host, port) if ready is not None else None)
        finally:
            attestation.close()
            readiness.close()
            gc.unfreeze()
            gc.set_threshold(*thresholds)


class _Agent:
    """The life of the process around its door."""

    def __init__(
        self, service: Service, door: Door, admission: Admission, puller: "Puller | None"
    ) -> None:
        self._service = service
        self._puller = puller
        self._door = door
        self._admission = admission
        self._signals = 0
        self._signalled = asyncio.Event()
        self._refresh = asyncio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        """started is called when boards are accepted and signals are handled."""
        self._door.open()
        background = [
            asyncio.create_task(self._watch_files()),
            asyncio.create_task(self._tell_turned_away()),
        ]
        if self._puller is not None:
            background.append(asyncio.create_task(self._puller.run()))
        try:
            with self._handle_signals():
                started()
                await self._signalled.wait()
                self._door.close()
                await self._finish_sessions()
        finally:
            for task in background:
                task.cancel()
            self._door.close()
            self._door.cancel_all()
            self._log_turned_away()

    async def _finish_sessions(self) -> None:
        """Wait for boards that have identified themselves, no longer than the deadline."""
        self._service.is_finishing = True
        self._door.finish_sessions()
        if not self._door.sessions:
            return
        deadline_s = self._service.settings.shutdown_deadline_s
        log_event("finishing", sessions=self._door.sessions, deadline_s=deadline_s)
        again = asyncio.create_task(self._signalled_again())
        finished = asyncio.create_task(self._door.wait_until_empty())
        await asyncio.wait(
            (again, finished), timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED
        )
        again.cancel()
        finished.cancel()
        cut_off = self._door.cancel_all()
        if cut_off:
            what = "1 transfer was" if cut_off == 1 else f"{cut_off} transfers were"
            raise UnfinishedError(f"{what} cut off at shutdown")

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
            self._service.certificate.refresh()
            self._service.firmware.refresh()

    async def _tell_turned_away(self) -> None:
        while True:
            await asyncio.sleep(_TURNED_AWAY_S)
            self._log_turned_away()

    def _log_turned_away(self) -> None:
        counts = self._admission.take_count()
        if counts:
            log_event("turned-away", **counts)

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = []
        for number, handler in (
            (signal.SIGTERM, self._signal),
            (signal.SIGINT, self._signal),
            (signal.SIGHUP, self._look_now),
        ):
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


def _access(settings: Settings) -> Access:
    """Raises SettingsError where nobody could be served."""
    access = read_access(
        settings.dice_auth_url,
        settings.attestation_ca,
        settings.attestation_token,
        plain_http_allowed=settings.attestation_plain_http,
    )
    if access.refusal and settings.require_attestation:
        raise SettingsError(access.refusal)
    return access


def _raise_descriptor_limit(wanted: int, copies: int) -> int:
    """Ask for as many file descriptors as connections need, and copies of firmware; how many
    connections that allows."""
    others = _OTHER_DESCRIPTORS + copies
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + others
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            log_event("few-descriptors", wanted=needed, limit=soft)
            return max(1, soft - others)
    return wanted
