"""Asking the attestation server about a board's certificate: protocol.md, section B, step 2.

Whatever is not a whole answer with status 200, in time, is a refusal.
"""

import asyncio
from dataclasses import dataclass

from ota_agent.circuit_breaker import CircuitBreaker
from ota_agent.http_pool import HttpError, HttpPool

# Enough to keep several of its workers busy; whoever comes later waits for a turn.
_MOST_CONNECTIONS = 32
_ATTEMPTS = 3
_PAUSE_S = 0.1
# The server's own word that it may do better in a moment (RFC 9110, section 15.6, and 429).
_PASSING = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answer:
    """accepted, and where it is not, why: `refused`, or `attestation-unavailable`."""

    accepted: bool
    outcome: str
    reason: str


_ACCEPTED = Answer(True, "accepted", "")


class AttestationClient:
    """url: where to POST. timeout_s: for everything from waiting for a turn to the end of the
    answer, three attempts included."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = HttpPool(url, _MOST_CONNECTIONS)
        self._breaker = CircuitBreaker()
        self._failure = ""

    async def ask(self, pem: str) -> Answer:
        """Is the board with this certificate (PEM) accepted? Never raises for a fault there."""
        loop = asyncio.get_running_loop()
        breaker = self._breaker
        if not breaker.allows(loop.time()):
            return _unavailable(f"{self._failure} ({breaker.failures} times in a row; waiting)")
        try:
            async with asyncio.timeout(self._timeout_s):
                status, failure = await self._ask(pem.encode())
        except TimeoutError:
            status, failure = 0, f"no answer within {self._timeout_s:g} s"
        except BaseException:
            breaker.gave_up()
            raise
        if failure:
            self._failure = failure
            breaker.failed(loop.time())
            return _unavailable(failure)
        breaker.succeeded()
        if status == 200:
            return _ACCEPTED
        if status in (401, 403):
            return Answer(False, "refused", f"attestation server: status {status}")
        return _unavailable(f"status {status}")

    async def _ask(self, pem: bytes) -> tuple[int, str]:
        """The status, and what failed at the last attempt; "" if it is a verdict."""
        status, failure = 0, ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
            try:
                status = await self._pool.post(pem)
            except (HttpError, OSError) as error:
                failure = _text(error)
                continue
            if status not in _PASSING:
                return status, ""
            failure = f"status {status}"
        return status, failure

    def close(self) -> None:
        self._pool.close()


def _unavailable(reason: str) -> Answer:
    return Answer(False, "attestation-unavailable", f"attestation server: {reason}")


def _text(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error)
