"""What happens with one board: TLS, its certificate, the verdict, the firmware, one log line.

Every step has its deadline, and whatever a board does ends its own session only.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from dice import certificate
from ota_agent.attestation import AttestationClient
from ota_agent.errors import PeerError
from ota_agent.firmware import Firmware
from ota_agent.protocol1 import CertificateReader
from ota_agent.settings import Settings
from ota_agent.structured_log import log_event
from ota_agent.tls import TlsConnection


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions share."""

    settings: Settings
    context: ssl.SSLContext
    firmware: Firmware
    attestation: AttestationClient


class Session:
    """One accepted connection (non-blocking, owned from here on) of the board at peer."""

    def __init__(self, service: Service, sock: socket.socket, peer: str) -> None:
        self._service = service
        self._connection = TlsConnection(sock, service.context)
        self._peer = peer
        self._key_id: str | None = None
        self._root_key_id: str | None = None
        self._sent = 0
        # Before the board has said who it is, a shutdown does not wait for it.
        self.identified = False

    async def run(self) -> None:
        """Serve the board to its end. Raises nothing but asyncio.CancelledError."""
        started = time.monotonic()
        outcome, reason = "cancelled", "the agent is shutting down"
        try:
            outcome, reason = await self._serve()
        except PeerError as error:
            outcome, reason = error.outcome, str(error)
        except OSError as error:
            outcome, reason = "connection-lost", _text(error)
        finally:
            self._connection.abort()
            log_event(
                "session",
                peer=self._peer,
                key_id=self._key_id,
                root_key_id=self._root_key_id,
                bytes=self._sent,
                seconds=round(time.monotonic() - started, 3),
                outcome=outcome,
                reason=reason,
            )

    async def _serve(self) -> tuple[str, str]:
        settings = self._service.settings
        async with _step("handshake", settings.handshake_timeout_s):
            try:
                await self._connection.handshake()
            except OSError as error:
                # The alert that says why is on its way: a reset would destroy it.
                await self._hang_up()
                raise PeerError("handshake-failed", _text(error)) from error
        try:
            async with _step("certificate", settings.certificate_timeout_s):
                presented = await self._read_certificate()
        except PeerError:
            await self._hang_up()
            raise
        self.identified = True
        answer = await self._service.attestation.ask(certificate.to_pem(presented))
        if not answer.accepted:
            await self._hang_up()
            return answer.outcome, answer.reason
        await self._expect_silence()
        await self._send_firmware()
        return "sent", ""

    async def _read_certificate(self) -> bytes:
        reader = CertificateReader()
        while reader.wanted:
            reader.feed(await self._connection.read(reader.wanted))
        with suppress(certificate.CertificateError):
            parsed = certificate.parse(reader.certificate)
            self._key_id = (parsed.subject_key_id or b"").hex() or None
            self._root_key_id = (parsed.authority_key_id or b"").hex() or None
        return reader.certificate

    async def _expect_silence(self) -> None:
        """Nothing may follow the certificate, and nobody gets firmware who has left."""
        more = self._connection.peek()
        if more is None:
            return
        await self._hang_up()
        if more:
            raise PeerError("bad-certificate", "bytes after the certificate")
        raise PeerError("closed-by-board", "closed while it was being attested")

    async def _send_firmware(self) -> None:
        settings = self._service.settings
        left = memoryview(self._service.firmware.image)
        async with _step("transfer", settings.idle_timeout_s) as deadline:
            while left:
                written = await self._connection.write_record(left)
                self._sent += written
                left = left[written:]
                deadline.reschedule(asyncio.get_running_loop().time() + settings.idle_timeout_s)
            await self._connection.end()
        try:
            await self._connection.wait_closed(
                idle_s=settings.idle_timeout_s, closing_s=settings.closing_timeout_s
            )
        except TimeoutError as error:
            raise _timeout("transfer", settings.idle_timeout_s) from error

    async def _hang_up(self) -> None:
        """Close towards a board that gets nothing."""
        closing_s = self._service.settings.closing_timeout_s
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(closing_s):
                await self._connection.end()
                await self._connection.wait_closed(idle_s=closing_s, closing_s=closing_s)


@asynccontextmanager
async def _step(name: str, timeout_s: float) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            yield deadline
    except TimeoutError as error:
        raise _timeout(name, timeout_s) from error


def _timeout(name: str, timeout_s: float) -> PeerError:
    return PeerError(f"{name}-timeout", f"no progress within {timeout_s:g} s")


def _text(error: OSError) -> str:
    """One line for the log; OpenSSL's reason where there is one."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason
    return error.strerror or type(error).__name__
