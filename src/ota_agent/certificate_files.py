"""The agent's certificate and key on disk, taken up again when they change."""

import hashlib
import logging
import ssl
from pathlib import Path

from dice import pem
from dice.errors import CertificateError as PemError
from ota_agent.errors import CertificateError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.structured_log import log_event
from ota_agent.tls_context import server_context

# OpenSSL keeps the session of every TLS 1.2 connection for a resumption that boards never ask for,
# up to 20,480 of them, and Python has no way to turn that off: they go with their context.
_CONNECTIONS_OF_A_CONTEXT = 1_000
# Files that change while they are read are read again.
_ATTEMPTS = 3


class CertificateFiles:
    """Loads them at once. Raises CertificateError."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        stamp = stamp_of(*self._paths)
        self._seen: Stamp | None = stamp if is_settled(stamp) else None
        self._context, self._certificate = _read(certificate, key)
        self._channel = _channel_of(self._certificate)
        self._connections = 0
        self._complaint = ""

    def context_for_connection(self) -> ssl.SSLContext:
        """For one more connection."""
        self._connections += 1
        if self._connections > _CONNECTIONS_OF_A_CONTEXT:
            self._load()
        return self._context

    @property
    def channel(self) -> str:
        """SHA-256 of the certificate (DER) in the context last given out, hex: what a board's
        evidence is bound to."""
        return self._channel

    @property
    def content(self) -> bytes:
        """Of the certificate's file, as it was last loaded."""
        return self._certificate

    def refresh(self) -> None:
        """Load them if they have changed. While they do not fit together (one of the two is
        still to be replaced, say), the ones there are go on being used, and one line says so."""
        stamp = stamp_of(*self._paths)
        if stamp != self._seen:
            self._seen = stamp if is_settled(stamp) else None
            self._load()

    def _load(self) -> None:
        self._connections = 0
        try:
            self._context, certificate = _read(*self._paths)
        except CertificateError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log_event("certificate-not-loaded", level=logging.ERROR, reason=str(error))
            return
        self._complaint = ""
        if certificate != self._certificate:
            self._certificate = certificate
            self._channel = _channel_of(certificate)
            log_event("certificate-loaded", certificate=str(self._paths[0]))


def _read(certificate: Path, key: Path) -> tuple[ssl.SSLContext, bytes]:
    """A context and the bytes of the certificate file that went into it: OpenSSL does not tell
    what it has read. Raises CertificateError."""
    for _ in range(_ATTEMPTS):
        before = _content(certificate)
        # It names what is wrong with a file that cannot be read.
        context = server_context(certificate, key)
        if _content(certificate) == before:
            return context, before
    raise CertificateError(f"{certificate}: it changes while it is read")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def _channel_of(certificate: bytes) -> str:
    """Of the first certificate, the agent's own; those of its chain follow it. Empty if it is not
    to be found: OpenSSL takes more kinds of file."""
    try:
        return hashlib.sha256(pem.from_pem(certificate)).hexdigest()
    except PemError:
        return ""
