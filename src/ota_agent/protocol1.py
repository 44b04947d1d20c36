"""Protocol 1 without I/O: one DICE certificate, bare DER, out of a stream (protocol.md, B).

What stands in the certificate is not looked at: the attestation server judges it.
"""

from dice import certificate
from ota_agent.errors import PeerError

MAX_CERTIFICATE_BYTES = 4096
# A DER SEQUENCE, as every X.509 certificate begins; protocol 2 begins with an ASCII letter.
FIRST_BYTE = 0x30


class CertificateReader:
    """Feed it bytes in whatever pieces they come.

    is_whole: the certificate is there. most: how many bytes are worth reading at once: one more
    than there can be, so that what follows a certificate is noticed.
    """

    most = MAX_CERTIFICATE_BYTES + 1

    def __init__(self) -> None:
        self._received = b""
        self._total: int | None = None

    @property
    def is_whole(self) -> bool:
        return len(self._received) == self._total

    @property
    def certificate(self) -> bytes:
        """The certificate, DER. Raises ValueError while it is not whole."""
        if not self.is_whole:
            raise ValueError("certificate not whole")
        return self._received

    def feed(self, data: bytes) -> None:
        """Raises PeerError if this is not protocol 1, not DER, too long, ended (b""), or goes on
        after the certificate."""
        if not data:
            raise PeerError(
                "closed-by-board", f"closed after {len(self._received)} bytes of certificate"
            )
        self._received += data
        if self._total is None:
            self._find_total()
        if self._total is not None and len(self._received) > self._total:
            raise PeerError("bad-certificate", "bytes after the certificate")

    def _find_total(self) -> None:
        if self._received[0] != FIRST_BYTE:
            raise PeerError(
                "unknown-protocol",
                f"first byte 0x{self._received[0]:02x}, expected 0x30 (a DER certificate) or a"
                " letter (HTTP/1.1)",
            )
        try:
            self._total = certificate.total_length(self._received)
        except certificate.CertificateError as error:
            raise PeerError("bad-certificate", str(error)) from error
        if self._total is not None and self._total > MAX_CERTIFICATE_BYTES:
            raise PeerError(
                "bad-certificate",
                f"certificate of {self._total} bytes, at most {MAX_CERTIFICATE_BYTES} allowed",
            )
