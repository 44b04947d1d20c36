"""What happens with one board: TLS, its certificate, the verdict, the firmware, one log line.

Every step has its deadline, and whatever a board does ends its own session only.
"""

import asyncio
import math
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from dice import certificate
from ota_agent.board_identity import NOBODY, identity_of
from ota_agent.errors import PeerError
from ota_agent.farewell import Farewell
from ota_agent.firmware import Firmware
from ota_agent.protocol1 import CertificateReader
from ota_agent.service import Service
from ota_agent.structured_log import log_event
from ota_agent.tls_connection import Next, TlsConnection
from ota_agent.transfer import Transfer

# How often a connection that is being closed is looked at.
_FAREWELL_S = 0.25


class Session:
    """One accepted connection (non-blocking, owned from here on) of the board at peer.

    deadline: the event loop's time at which `expire` is to be called; it sets the next one.
    identified: before the board has said who it is, a shutdown does not wait for it.
    """

    def __init__(self, service: Service, sock: socket.socket, peer: str) -> None:
        self.deadline = math.inf
        self.identified = False
        self._service = service
        self._connection = TlsConnection(sock, service.certificate.context)
        self._peer = peer
        self._board = NOBODY
        self._firmware: Firmware | None = None
        self._transfer: Transfer | None = None
        self._reader = CertificateReader()
        self._is_shaken = False
        self._judge: Callable[[float], None] = self._never

    async def run(self) -> str:
        """Serve the board to its end; the outcome. Raises nothing but asyncio.CancelledError."""
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
            firmware = self._firmware
            log_event(
                "session",
                peer=self._peer,
                key_id=self._board.key_id,
                root_key_id=self._board.root_key_id,
                firmware=firmware.name if firmware is not None else None,
                bytes=self._transfer.sent if self._transfer is not None else 0,
                seconds=round(time.monotonic() - started, 3),
                outcome=outcome,
                reason=reason,
            )
        return outcome

    def expire(self, now: float) -> None:
        """The deadline has passed: look whether the board may go on."""
        self.deadline = math.inf
        try:
            self._judge(now)
        except Exception as error:
            self._connection.fail(error)

    async def _serve(self) -> tuple[str, str]:
        service, settings = self._service, self._service.settings
        self._allow("handshake", settings.handshake_timeout_s)
        try:
            await self._connection.perform(self._greet)
        except PeerError:
            # The alert that says why is on its way: a reset would destroy it.
            await self._hang_up()
            raise
        self.deadline = math.inf
        self.identified = True
        presented = self._reader.certificate
        self._board = identity_of(presented)
        answer = await service.attestation.ask(certificate.to_pem(presented))
        if not answer.accepted:
            await self._hang_up()
            return answer.outcome, answer.reason
        self._firmware = firmware = await service.firmware.current()
        await self._expect_silence()
        await self._send(firmware)
        return "sent", ""

    def _greet(self) -> Next:
        """The handshake, then the certificate."""
        if not self._is_shaken:
            try:
                self._connection.handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except OSError as error:
                raise PeerError("handshake-failed", _text(error)) from error
            self._is_shaken = True
            self._allow("certificate", self._service.settings.certificate_timeout_s)
        while self._reader.wanted:
            self._reader.feed(self._connection.receive(self._reader.wanted))
        return Next.DONE

    async def _expect_silence(self) -> None:
        """Nothing may follow the certificate, and nobody gets firmware who has left."""
        try:
            more = self._connection.receive(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        await self._hang_up()
        if more:
            raise PeerError("bad-certificate", "bytes after the certificate")
        raise PeerError("closed-by-board", "closed while it was being attested")

    async def _send(self, firmware: Firmware) -> None:
        settings, pacer = self._service.settings, self._service.pacer()
        self._transfer = transfer = Transfer(self._connection, firmware.image, pacer)
        self._connection.begin_transfer(settings.send_buffer_bytes)
        self._watch_transfer()
        try:
            await self._connection.perform(transfer.step)
        finally:
            if pacer is not None:
                pacer.end()
        try:
            await self._part(settings.idle_timeout_s)
        except TimeoutError as error:
            raise PeerError(
                "transfer-timeout", f"nothing taken for {settings.idle_timeout_s:g} s"
            ) from error

    async def _hang_up(self) -> None:
        """Close towards a board that gets nothing."""
        with suppress(OSError):
            await self._part(self._service.settings.closing_timeout_s)

    async def _part(self, idle_s: float) -> None:
        farewell = Farewell(
            self._connection, idle_s=idle_s, closing_s=self._service.settings.closing_timeout_s
        )
        self._watch_farewell(farewell)
        await self._connection.perform(farewell.step)
        self._connection.close()

    # What happens at the deadline

    def _never(self, now: float) -> None:
        """No deadline is set."""

    def _allow(self, name: str, seconds: float) -> None:
        def judge(now: float) -> None:
            raise PeerError(f"{name}-timeout", f"not done within {seconds:g} s")

        self._set_deadline(judge, seconds)

    def _watch_transfer(self) -> None:
        settings, transfer = self._service.settings, self._transfer

        def judge(now: float) -> None:
            if transfer is not None:
                transfer.judge(settings.idle_timeout_s, settings.least_bytes_per_s)
            self._set_deadline(judge, settings.idle_timeout_s)

        self._set_deadline(judge, settings.idle_timeout_s)

    def _watch_farewell(self, farewell: Farewell) -> None:
        def judge(now: float) -> None:
            if farewell.judge():
                self._connection.finish()
            else:
                self._set_deadline(judge, _FAREWELL_S)

        self._set_deadline(judge, _FAREWELL_S)

    def _set_deadline(self, judge: Callable[[float], None], seconds: float) -> None:
        self._judge = judge
        self.deadline = asyncio.get_running_loop().time() + seconds


def _text(error: OSError) -> str:
    """One line for the log; OpenSSL's reason where there is one."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason
    return error.strerror or type(error).__name__
