"""The agent's certificate and key on disk, taken up again when they change."""

import logging
import ssl
from pathlib import Path

from ota_agent.errors import CertificateError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.structured_log import log_event
from ota_agent.tls_context import server_context

# OpenSSL keeps the session of every TLS 1.2 connection for a resumption that boards never ask for,
# up to 20,480 of them, and Python has no way to turn that off: they go with their context.
_CONNECTIONS_OF_A_CONTEXT = 1_000


class CertificateFiles:
    """Loads them at once. Raises CertificateError."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        stamp = stamp_of(*self._paths)
        self._seen: Stamp | None = stamp if is_settled(stamp) else None
        self._context = server_context(certificate, key)
        self._certificate = certificate.read_bytes()
        self._connections = 0
        self._complaint = ""

    def context_for_connection(self) -> ssl.SSLContext:
        """For one more connection."""
        self._connections += 1
        if self._connections > _CONNECTIONS_OF_A_CONTEXT:
            self._load()
        return self._context

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
            self._context = server_context(*self._paths)
            certificate = self._paths[0].read_bytes()
        except (CertificateError, OSError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log_event("certificate-not-loaded", level=logging.ERROR, reason=str(error))
            return
        self._complaint = ""
        if certificate != self._certificate:
            self._certificate = certificate
            log_event("certificate-loaded", certificate=str(self._paths[0]))
