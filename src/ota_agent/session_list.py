"""What is going on in one worker, for who watches: its sessions, what it serves.

Asked for now and then, nothing is kept for it. Sessions are described some at a time, boards have
their turns between.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dice import server_certificate
from dice.errors import CertificateError
from ota_agent.counts import SENDING
from ota_agent.door import Door
from ota_agent.offer import Offer
from ota_agent.service import Service
from ota_agent.session import Session

# Some 2 ms.
_DESCRIBED_A_TURN = 300
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode

# (0 if it is sending, else 1; when it began, of the monotonic clock; its description, JSON).
# In their order they are as they are to be shown.
Line = tuple[int, float, bytes]


@dataclass(frozen=True, slots=True)
class Overview:
    """sessions: how many there are. firmware: what is served (`describe_firmware`).
    certificate_expiry: as time.time has it; None where it is not known."""

    sessions: int
    firmware: list[dict[str, Any]]
    certificate_expiry: float | None

    def encode(self) -> bytes:
        return _encode([self.sessions, self.firmware, self.certificate_expiry]).encode()

    @classmethod
    def decode(cls, line: bytes) -> "Overview":
        sessions, firmware, expiry = json.loads(line)
        return cls(sessions, firmware, expiry)


class SessionList:
    """Of worker number 0, 1, ..."""

    def __init__(self, worker: int, service: Service, door: Door) -> None:
        self._worker = worker
        self._service = service
        self._door = door
        self._certificate = b""
        self._expiry: float | None = None

    def overview(self) -> Overview:
        content = self._service.certificate.certificate
        if content != self._certificate:
            self._certificate, self._expiry = content, _expiry_of(content)
        return Overview(
            self._door.sessions, describe_firmware(self._service.firmware.offer), self._expiry
        )

    async def lines(self, limit: int, within_s: float = math.inf) -> list[Line]:
        """So many at most: those that are sending first, of these and of the others the oldest
        first. within_s: how long they are looked for; fewer are better than none in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        found: list[Line] = []
        for at, session in enumerate(self._choose(limit)):
            if at % _DESCRIBED_A_TURN == _DESCRIBED_A_TURN - 1:
                await asyncio.sleep(0)
                if loop.time() > until:
                    break
            if not session.is_over:
                described = {"worker": self._worker, **session.describe(loop.time())}
                order = 0 if session.state == SENDING else 1
                found.append((order, session.started, _encode(described).encode()))
        # Some have gone on meanwhile.
        found.sort(key=lambda line: line[:2])
        return found

    def _choose(self, limit: int) -> list[Session]:
        def each(*, sending: bool) -> Iterator[Session]:
            return (
                session
                for session in self._door.all_sessions()
                if (session.state == SENDING) == sending
            )

        chosen = [session for session, _ in zip(each(sending=True), range(limit), strict=False)]
        rest = range(limit - len(chosen))
        chosen += [session for session, _ in zip(each(sending=False), rest, strict=False)]
        return chosen


def describe_firmware(offer: Offer) -> list[dict[str, Any]]:
    """For programs. is_default: what boards of protocol 1 get."""
    return [
        {
            "chip": firmware.chip,
            "project": firmware.project,
            "version": firmware.version,
            "bytes": len(firmware.image),
            "sha256": firmware.sha256,
            "is_default": firmware is offer.default,
        }
        for firmware in offer.served
    ]


def _expiry_of(content: bytes) -> float | None:
    """Of a certificate (DER)."""
    try:
        until = server_certificate.parse(content).not_after
        return datetime(*until, tzinfo=UTC).timestamp()
    except (CertificateError, ValueError):
        return None
