"""Asking the attestation server about a board's certificate: protocol.md, section B, step 2.

Whatever is not a whole answer with status 200, in time, is a refusal.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ota_agent.circuit_breaker import CircuitBreaker
from ota_agent.http_pool import Exchange, HttpPool

# Enough to keep several of its workers busy; whoever comes later waits for a turn.
_MOST_CONNECTIONS = 32
_ATTEMPTS = 3
_PAUSE_S = 0.1
# The server's own word that it may do better in a moment (RFC 9110, section 15.6, and 429).
_PASSING = (429, 500, 502, 503, 504)
# How often it is looked whether somebody has waited too long.
_OVERDUE_S = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """accepted, and where it is not, why: `refused`, or `attestation-unavailable`."""

    accepted: bool
    outcome: str
    reason: str


_ACCEPTED = Answer(True, "accepted", "")


class AttestationClient:
    """url: where to POST. timeout_s: for everything from waiting for a turn to the end of the
    answer, three attempts included. Made in a running event loop; `close` it there."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._pool = HttpPool(url, _MOST_CONNECTIONS)
        self._breaker = CircuitBreaker()
        self._failure = ""
        # In the order asked, which is that of their deadlines.
        self._open: dict[Question, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, pem: bytes, answered: Callable[[Answer], None]) -> "Question | None":
        """Is the board with this certificate (PEM) accepted? answered is called once, unless the
        question is cancelled; never before this returns."""
        now = self._loop.time()
        if not self._breaker.allows(now):
            reason = f"{self._failure} ({self._breaker.failures} times in a row, not asked again)"
            self._loop.call_soon(answered, _unavailable(reason))
            return None
        question = Question(self, self._pool, pem, answered)
        self._open[question] = now + self._timeout_s
        if self._timer is None:
            self._timer = self._loop.call_later(_OVERDUE_S, self._look_for_overdue)
        question.post()
        return question

    def close(self) -> None:
        """Questions still open are not answered."""
        if self._timer is not None:
            self._timer.cancel()
        self._pool.close()

    def _look_for_overdue(self) -> None:
        now = self._loop.time()
        while self._open:
            question, deadline = next(iter(self._open.items()))
            if deadline > now:
                break
            question.end(0, f"no answer within {self._timeout_s:g} s")
        self._timer = (
            self._loop.call_later(_OVERDUE_S, self._look_for_overdue) if self._open else None
        )

    # For the questions

    def withdrawn(self, question: "Question") -> None:
        self._open.pop(question, None)
        self._breaker.gave_up()

    def judge(self, question: "Question", status: int, failure: str) -> Answer:
        """What the end of a question means."""
        del self._open[question]
        if failure:
            self._failure = failure
            self._breaker.failed(self._loop.time())
            return _unavailable(failure)
        self._breaker.succeeded()
        if status == 200:
            return _ACCEPTED
        if status in (401, 403):
            return Answer(False, "refused", f"attestation server: status {status}")
        return _unavailable(f"status {status}")


class Question:
    """One certificate that the attestation server is asked about, up to three times."""

    def __init__(
        self,
        client: AttestationClient,
        pool: HttpPool,
        pem: bytes,
        answered: Callable[[Answer], None],
    ) -> None:
        self._client = client
        self._pool = pool
        self._pem = pem
        self._answered: Callable[[Answer], None] | None = answered
        self._exchange: Exchange | None = None
        self._attempts = 0

    def post(self) -> None:
        if self._answered is not None:
            self._attempts += 1
            self._exchange = self._pool.post(self._pem, self._done)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self._answered is not None:
            self._close()
            self._client.withdrawn(self)

    def end(self, status: int, failure: str) -> None:
        """Answer it, with what is known now."""
        answered = self._close()
        answer = self._client.judge(self, status, failure)
        if answered is not None:
            answered(answer)

    def _done(self, status: int, failure: str) -> None:
        if not failure and status in _PASSING:
            failure = f"status {status}"
        if failure and self._attempts < _ATTEMPTS:
            pause_s = _PAUSE_S * 2 ** (self._attempts - 1)
            asyncio.get_running_loop().call_later(pause_s, self.post)
        else:
            self.end(status, failure)

    def _close(self) -> Callable[[Answer], None] | None:
        answered, self._answered = self._answered, None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        return answered


def _unavailable(reason: str) -> Answer:
    return Answer(False, "attestation-unavailable", f"attestation server: {reason}")
