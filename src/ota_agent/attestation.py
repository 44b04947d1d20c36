"""Asking the attestation server: about a board's certificate (protocol.md, section B, step 2), for
a challenge, and about evidence (section C).

Whatever is not a whole answer with status 200, in time, is a refusal. Not here: what the answers
of section C say.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

from ota_agent.attestation_access import OPEN_ACCESS, Access
from ota_agent.circuit_breaker import CircuitBreaker
from ota_agent.counts import (
    ACCEPTED,
    CERTIFICATE,
    CHALLENGE,
    EVIDENCE,
    NOT_ASKED,
    REFUSED,
    UNAVAILABLE,
    WITHDRAWN,
    Row,
)
from ota_agent.http_pool import Exchange, HttpPool

# Enough to keep several of its workers busy; whoever comes later waits for a turn.
_MOST_CONNECTIONS = 32
_ATTEMPTS = 3
_PAUSE_S = 0.1
# The server's own word that it cannot now (RFC 9110, section 15.6): its failure, as no answer is.
# 429 is none: who asked too much must not have others told that the server is down.
_OUT_OF_SERVICE = (502, 503, 504)
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


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said: its status, or 0 where it said nothing that counts, and why."""

    status: int
    failure: str = ""
    content_type: bytes = b""
    body: bytes = b""


Replied = Callable[[Reply], None]


class AttestationClient:
    """url: where to POST. timeout_s: for everything from waiting for a turn to the end of the
    answer, three attempts included. access: how challenges and evidence are asked about. counts:
    where questions are counted. Made in a running event loop; `close` it there."""

    def __init__(
        self,
        url: str,
        timeout_s: float,
        access: Access = OPEN_ACCESS,
        counts: Row | None = None,
    ) -> None:
        self._counts = counts if counts is not None else Row()
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._access = access
        self._pool = HttpPool(url, _MOST_CONNECTIONS, access.tls)
        self._challenge = self._pool.target.request("GET", "/challenge", access.headers)
        self._breaker = CircuitBreaker()
        self._failure = ""
        # In the order asked, which is that of their deadlines.
        self._open: dict[Question, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, pem: bytes, answered: Callable[[Answer], None]) -> "Question | None":
        """Is the board with this certificate (PEM) accepted? answered is called once, unless the
        question is cancelled; never before this returns."""
        request = self._pool.post_request(pem)
        return self._ask(CERTIFICATE, request, partial(_tell, answered), _ATTEMPTS)

    def challenge(self, replied: Replied) -> "Question | None":
        """A nonce for one board. replied: as for `ask`."""
        return self._ask_with_access(CHALLENGE, self._challenge, replied, _ATTEMPTS)

    def attest(self, evidence: bytes, channel: str, replied: Replied) -> "Question | None":
        """Is this evidence good? channel: SHA-256 of the agent's certificate (DER) that the board
        saw, hex. Asked once: its nonce is used up, whether or not the answer arrives."""
        headers = (
            f"{self._access.headers}Content-Type: application/eat+cwt\r\nOTA-Channel: {channel}\r\n"
        )
        request = self._pool.target.request("POST", "/attest", headers, evidence)
        return self._ask_with_access(EVIDENCE, request, replied, 1)

    def _ask_with_access(
        self, kind: int, request: bytes, replied: Replied, attempts: int
    ) -> "Question | None":
        if self._access.refusal:
            self._counts.question_ended(kind, NOT_ASKED)
            self._loop.call_soon(replied, Reply(0, self._access.refusal))
            return None
        return self._ask(kind, request, replied, attempts)

    def _ask(self, kind: int, request: bytes, replied: Replied, attempts: int) -> "Question | None":
        now = self._loop.time()
        permit = self._breaker.permit(now)
        if not permit:
            self._counts.question_ended(kind, NOT_ASKED)
            reason = f"{self._failure} ({self._breaker.failures} times in a row, not asked again)"
            self._loop.call_soon(replied, Reply(0, reason))
            return None
        question = Question(self, self._pool, kind, request, permit, replied, attempts)
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

    def withdrawn(self, question: "Question", result: int) -> None:
        del self._open[question]
        self._counts.question_ended(question.kind, result)
        self._breaker.gave_up(question.permit)

    def judge(self, question: "Question", status: int, failure: str) -> str:
        """What the end of a question means for the next; why it is none, if it is none."""
        now = self._loop.time()
        self._count(question, status if not failure else 0, now)
        if failure or status in _OUT_OF_SERVICE:
            self._failure = failure or f"status {status}"
            self._breaker.failed(question.permit, now)
            self._counts.breaker_is(is_open=self._breaker.is_open)
            return self._failure
        self._breaker.succeeded()
        self._counts.breaker_is(is_open=False)
        return ""

    def _count(self, question: "Question", status: int, now: float) -> None:
        asked = self._open.pop(question) - self._timeout_s
        if status == 200:
            result = ACCEPTED
        elif status in (401, 403):
            result = REFUSED
        else:
            result = UNAVAILABLE
        self._counts.question_ended(question.kind, result, now - asked)


class Question:
    """One request to the attestation server, made up to so many times."""

    def __init__(
        self,
        client: AttestationClient,
        pool: HttpPool,
        kind: int,
        request: bytes,
        permit: int,
        replied: Replied,
        attempts: int,
    ) -> None:
        self.kind = kind
        self.permit = permit
        self._client = client
        self._pool = pool
        self._request = request
        self._replied: Replied | None = replied
        self._most_attempts = attempts
        self._exchange: Exchange | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._attempts = 0

    def post(self) -> None:
        self._pause = None
        self._attempts += 1
        may_repeat = self._most_attempts > 1
        self._exchange = self._pool.send(self._request, self._done, may_repeat=may_repeat)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._withdraw(WITHDRAWN)

    def expire(self, timeout_s: float) -> None:
        """It has taken too long. Where it never had a turn that is no failure of the server's:
        those whose turn it was tell how the server does."""
        replied, exchange = self._replied, self._exchange
        if replied is None:
            return
        if self._attempts == 1 and exchange is not None and not exchange.has_turn:
            self._withdraw(UNAVAILABLE)
            replied(Reply(0, f"no turn within {timeout_s:g} s"))
        else:
            self._end(0, f"no answer within {timeout_s:g} s", None)

    def _done(self, status: int, failure: str) -> None:
        exchange, self._exchange = self._exchange, None
        if (failure or status in _PASSING) and self._attempts < self._most_attempts:
            pause_s = _PAUSE_S * 2 ** (self._attempts - 1)
            self._pause = asyncio.get_running_loop().call_later(pause_s, self.post)
        else:
            self._end(status, failure, exchange)

    def _end(self, status: int, failure: str, exchange: Exchange | None) -> None:
        replied = self._replied
        if replied is None:
            return
        self._close()
        failure = self._client.judge(self, status, failure)
        if failure or exchange is None:
            replied(Reply(0, failure))
        else:
            replied(Reply(status, "", exchange.content_type, exchange.body))

    def _withdraw(self, result: int) -> None:
        if self._replied is not None:
            self._close()
            self._client.withdrawn(self, result)

    def _close(self) -> None:
        """Nothing is under way any more."""
        self._replied = None
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        if self._pause is not None:
            self._pause.cancel()


def _tell(answered: Callable[[Answer], None], reply: Reply) -> None:
    """What a reply about a certificate means."""
    status = reply.status
    if status == 200:
        answered(_ACCEPTED)
    elif status in (401, 403):
        answered(Answer(False, "refused", f"attestation server: status {status}"))
    else:
        reason = reply.failure or f"status {status}"
        answered(Answer(False, "attestation-unavailable", f"attestation server: {reason}"))
