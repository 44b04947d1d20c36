"""The agent's certificate and key on disk, taken up again when they change."""

import hashlib
import logging
from pathlib import Path

from OpenSSL import SSL

from ota_agent.errors import CertificateError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.structured_log import log_event
from ota_agent.tls_context import server_tls


class CertificateFiles:
    """Loads them at once. Raises CertificateError."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        stamp = stamp_of(*self._paths)
        self._seen: Stamp | None = stamp if is_settled(stamp) else None
        self._tls = server_tls(certificate, key)
        self._channel = _channel_of(self._tls.certificate)
        self._complaint = ""

    @property
    def context(self) -> SSL.Context:
        """For the next connection."""
        return self._tls.context

    @property
    def channel(self) -> str:
        """SHA-256 of the certificate (DER) in the context, hex: what a board's evidence is bound
        to."""
        return self._channel

    @property
    def certificate(self) -> bytes:
        """The one in the context, DER."""
        return self._tls.certificate

    def refresh(self) -> None:
        """Load them if they have changed. While they do not fit together (one of the two is
        still to be replaced, say), the ones there are go on being used, and one line says so."""
        stamp = stamp_of(*self._paths)
        if stamp != self._seen:
            self._seen = stamp if is_settled(stamp) else None
            self._load()

    def _load(self) -> None:
        before = self._tls.certificate
        try:
            self._tls = server_tls(*self._paths)
        except CertificateError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log_event("certificate-not-loaded", level=logging.ERROR, reason=str(error))
            return
        self._complaint = ""
        if self._tls.certificate != before:
            self._channel = _channel_of(self._tls.certificate)
            log_event("certificate-loaded", certificate=str(self._paths[0]))


def _channel_of(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()
