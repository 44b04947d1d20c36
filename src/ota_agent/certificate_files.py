"""The agent's certificate and key on disk, taken up again when they change."""

import logging
import ssl
from pathlib import Path

from ota_agent.errors import CertificateError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.structured_log import log_event
from ota_agent.tls_context import server_context


class CertificateFiles:
    """Loads them at once. Raises CertificateError. context: for the next connection."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        self._seen: Stamp | None = stamp_of(*self._paths)
        self.context: ssl.SSLContext = server_context(certificate, key)
        self._complaint = ""

    def refresh(self) -> None:
        """Load them if they have changed. While they do not fit together (one of the two is
        still to be replaced, say), the ones there are go on being used, and one line says so."""
        stamp = stamp_of(*self._paths)
        if stamp == self._seen:
            return
        try:
            self.context = server_context(*self._paths)
        except CertificateError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log_event("certificate-not-loaded", level=logging.ERROR, reason=str(error))
        else:
            self._complaint = ""
            log_event("certificate-loaded", certificate=str(self._paths[0]))
        self._seen = stamp if is_settled(stamp) else None
