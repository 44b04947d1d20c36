"""Asking the attestation server about a board's certificate: protocol.md, section B, step 2.

Whatever is not a whole answer with status 200, in time, is a refusal.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from ota_agent.circuit_breaker import CircuitBreaker
from ota_agent.http_pool import Exchange, HttpPool

# Enough to keep several of its workers busy; whoever comes later waits for a turn.
_MOST_CONNECTIONS = 32
_ATTEMPTS = 3
_PAUSE_S = 0.1
# The server's own word that it cannot now (RFC 9110, section 15.6, and 429): its failure, as no
# answer is.
_OUT_OF_SERVICE = (429, 502, 503, 504)
# What may be different in a moment. 500 is no failure of the server as a whole: it may be about
# this certificate, and a board that can provoke it must not shut out the others.
_PASSING = (500, *_OUT_OF_SERVICE)
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
        permit = self._breaker.permit(now)
        if not permit:
            reason = f"{self._failure} ({self._breaker.failures} times in a row, not asked again)"
            self._loop.call_soon(answered, _unavailable(reason))
            return None
        question = Question(self, self._pool, pem, permit, answered)
        self._open[question] = now + self._timeout_s
        if self._timer is None:
            self._timer = self._loop.call_later(_OVERDUE_S, self._look_for_overdue)
        question.post()
        return question

    def close(self) -> None:
        """Questions still open are not answered. No `ask` after this."""
        for question in list(self._open):
            question.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._pool.close()

    def _look_for_overdue(self) -> None:
        now = self._loop.time()
        overdue = [each for each, _ in takewhile(lambda item: item[1] <= now, self._open.items())]
        # Set before anybody is told: what they do with it must not stop the clock.
        self._timer = (
            self._loop.call_later(_OVERDUE_S, self._look_for_overdue) if self._open else None
        )
        for question in overdue:
            question.expire(self._timeout_s)

    # For the questions

    def withdrawn(self, question: "Question") -> None:
        del self._open[question]
        self._breaker.gave_up(question.permit)

    def judge(self, question: "Question", status: int, failure: str) -> Answer:
        """What the end of a question means."""
        del self._open[question]
        if failure or status in _OUT_OF_SERVICE:
            self._failure = failure or f"status {status}"
            self._breaker.failed(question.permit, self._loop.time())
            return _unavailable(self._failure)
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
        permit: int,
        answered: Callable[[Answer], None],
    ) -> None:
        self.permit = permit
        self._client = client
        self._pool = pool
        self._pem = pem
        self._answered: Callable[[Answer], None] | None = answered
        self._exchange: Exchange | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._attempts = 0

    def post(self) -> None:
        self._pause = None
        self._attempts += 1
        self._exchange = self._pool.post(self._pem, self._done)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self._answered is not None:
            self._close()
            self._client.withdrawn(self)

    def expire(self, timeout_s: float) -> None:
        """It has taken too long. Where it never had a turn that is no failure of the server's:
        those whose turn it was tell how the server does."""
        answered, exchange = self._answered, self._exchange
        if answered is None:
            return
        if self._attempts == 1 and exchange is not None and not exchange.has_turn:
            self.cancel()
            answered(_unavailable(f"no turn within {timeout_s:g} s"))
        else:
            self._end(0, f"no answer within {timeout_s:g} s")

    def _done(self, status: int, failure: str) -> None:
        self._exchange = None
        if (failure or status in _PASSING) and self._attempts < _ATTEMPTS:
            pause_s = _PAUSE_S * 2 ** (self._attempts - 1)
            self._pause = asyncio.get_running_loop().call_later(pause_s, self.post)
        else:
            self._end(status, failure)

    def _end(self, status: int, failure: str) -> None:
        answered = self._answered
        if answered is not None:
            self._close()
            answered(self._client.judge(self, status, failure))

    def _close(self) -> None:
        """Nothing is under way any more."""
        self._answered = None
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        if self._pause is not None:
            self._pause.cancel()


def _unavailable(reason: str) -> Answer:
    return Answer(False, "attestation-unavailable", f"attestation server: {reason}")
