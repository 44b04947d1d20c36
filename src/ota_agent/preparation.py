"""What an agent needs at start: every mistake in it is told before anybody is served."""

import logging
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ota_agent.attestation_access import Access, read_access
from ota_agent.certificate_files import CertificateFiles
from ota_agent.errors import ListenError, SettingsError
from ota_agent.firmware_file import FirmwareFile, log_firmware
from ota_agent.firmware_source import descriptors, open_firmware, puller_for
from ota_agent.listening import open_listener
from ota_agent.offer import FirmwareSource
from ota_agent.settings import Settings
from ota_agent.structured_log import log_event

if TYPE_CHECKING:
    from ota_agent.oci_puller import Puller

# Descriptors that are no board's: the listener, the attestation server's, the log.
_OTHER_DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an agent needs at start, every mistake in it told. most: connections at once in all;
    most_here: in one process. puller: each process that serves has a copy;
    what it needs was read here, and may be gone when a worker is replaced."""

    settings: Settings
    firmware: FirmwareSource
    certificate: CertificateFiles
    access: Access
    puller: "Puller | None"
    most: int
    most_here: int


@contextmanager
def hangups_outlived() -> Iterator[None]:
    """SIGHUP means to look at files again, and does not end the agent either while there is nobody
    who could: it reads them for the first time, which from a registry may take minutes."""
    try:
        # Not SIG_IGN: who waits for this signal is to be told of it.
        before = signal.signal(signal.SIGHUP, lambda *_: None)
    except ValueError:
        # Signals reach the main thread only.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


async def prepare(settings: Settings) -> Prepared:
    """Returns when there is firmware to serve. Raises FirmwareError, PullError, CertificateError or
    SettingsError, each a line."""
    puller = puller_for(settings)
    certificate = CertificateFiles(settings.certificate, settings.key)
    access = _access(settings)
    # It may take a while: what is wrong with the rest has been told.
    firmware = await _open_firmware(settings, puller)
    most_here = _raise_descriptor_limit(settings.max_connections, descriptors(firmware))
    most = min(settings.max_connections, most_here * settings.workers)
    return Prepared(settings, firmware, certificate, access, puller, most, most_here)


async def _open_firmware(settings: Settings, puller: "Puller | None") -> FirmwareSource:
    """Whoever pulls later takes the cache's lock again."""
    if puller is None:
        return open_firmware(settings)
    try:
        await puller.fill()
        return open_firmware(settings, puller)
    finally:
        puller.close()


def announce(prepared: Prepared, listener: socket.socket) -> tuple[str, int]:
    """In the log; where it listens."""
    host, port = listener.getsockname()[:2]
    about: dict[str, Any] = {
        "host": host,
        "port": port,
        "max_connections": prepared.most,
        "workers": prepared.settings.workers,
    }
    firmware = prepared.firmware
    if isinstance(firmware, FirmwareFile):
        log_firmware("listening", firmware.served[0], **about)
    else:
        catalogue = str(prepared.settings.firmware)
        log_event("listening", **about, catalogue=catalogue, images=len(firmware.served))
    if prepared.access.refusal:
        log_event("no-protocol-2", reason=prepared.access.refusal)
    return host, port


def open_admin_listener(settings: Settings) -> socket.socket | None:
    """None where there is to be none, or cannot be and need not. Raises ListenError."""
    if settings.admin is None:
        return None
    try:
        listener = open_listener(*settings.admin)
    except ListenError as error:
        if not settings.is_admin_optional:
            raise ListenError(f"admin port: {error}") from error
        log_event("no-admin-port", level=logging.WARNING, reason=str(error))
        return None
    listener.setblocking(False)
    host, port = listener.getsockname()[:2]
    log_event("admin-listening", host=host, port=port)
    return listener


def _access(settings: Settings) -> Access:
    """Raises SettingsError where nobody could be served."""
    access = read_access(
        settings.dice_auth_url,
        settings.attestation_ca,
        settings.attestation_token,
        certificate=settings.attestation_certificate,
        key=settings.attestation_key,
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
