"""Protocol 1 without I/O: one DICE certificate, bare DER, out of a stream (protocol.md, B).

What stands in the certificate is not looked at: the attestation server judges it.
"""

from dice import certificate
from ota_agent.errors import PeerError

MAX_CERTIFICATE_BYTES = 4096
# A DER SEQUENCE, as every X.509 certificate begins; protocol 2 begins with an ASCII letter.
FIRST_BYTE = 0x30
# So many can be read before the length is known: nothing shorter is a certificate.
_SHORTEST_BYTES = 4


class CertificateReader:
    """Feed it bytes in whatever pieces they come, but never more than `wanted`.

    wanted: how many bytes may be read without going past the certificate's end; 0 when whole.
    """

    def __init__(self) -> None:
        self._received = bytearray()
        self._total: int | None = None

    @property
    def wanted(self) -> int:
        if self._total is not None:
            return self._total - len(self._received)
        return max(1, _SHORTEST_BYTES - len(self._received))

    @property
    def certificate(self) -> bytes:
        """The certificate, DER. Raises ValueError while it is not whole."""
        if self.wanted:
            raise ValueError(f"certificate not whole, {self.wanted} bytes wanted")
        return bytes(self._received)

    def feed(self, data: bytes) -> None:
        """Raises PeerError if this is not protocol 1, not DER, too long, or ended (b"")."""
        if not data:
            raise PeerError(
                "closed-by-board", f"closed after {len(self._received)} bytes of certificate"
            )
        if len(data) > self.wanted:
            raise ValueError(f"{len(data)} bytes, {self.wanted} wanted")
        self._received += data
        if self._total is None:
            self._find_total()

    def _find_total(self) -> None:
        if self._received[0] != FIRST_BYTE:
            raise PeerError(
                "unknown-protocol",
                f"first byte 0x{self._received[0]:02x}, expected 0x30 (a DER certificate)",
            )
        try:
            self._total = certificate.total_length(bytes(self._received))
        except certificate.CertificateError as error:
            raise PeerError("bad-certificate", str(error)) from error
        if self._total is None:
            return
        if self._total < _SHORTEST_BYTES:
            raise PeerError("bad-certificate", f"certificate of {self._total} bytes")
        if self._total > MAX_CERTIFICATE_BYTES:
            raise PeerError(
                "bad-certificate",
                f"certificate of {self._total} bytes, at most {MAX_CERTIFICATE_BYTES} allowed",
            )
