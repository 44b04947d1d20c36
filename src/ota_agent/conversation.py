"""Protocol 2 with one board: challenge, evidence, firmware, each a request over one TLS connection
(protocol.md, C).

    reading -> asking -> answering -> (sending) -> reading -> ...

Requests are answered one at a time, in their order: one that comes early waits, in what is bounded
by a read. A token is known to this conversation alone, so that it is worth nothing on another
connection. Not here: TLS, deadlines' clock, sending and closing (`session`); whether evidence is
good (the attestation server).
"""

import asyncio
import base64
import hmac
import math
import secrets
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ota_agent import http_answer
from ota_agent.address_rate import counted_as
from ota_agent.attestation import Question, Reply
from ota_agent.byte_range import NotSatisfiable, Selection, select_bytes
from ota_agent.counts import ATTESTING, CONVERSING
from ota_agent.errors import PeerError
from ota_agent.firmware import Firmware
from ota_agent.http_answer import answer, problem
from ota_agent.http_request import Request, RequestError, RequestReader
from ota_agent.offer import Offer
from ota_agent.service import Service
from ota_agent.tls_connection import FAILED, NOT_NOW, TlsConnection, WantWrite, failure_of
from ota_agent.transfer import Transfer
from ota_agent.verdict import (
    AFFIRMING,
    AnswerError,
    Verdict,
    read_failed_check,
    read_nonce,
    read_verdict,
)

if TYPE_CHECKING:
    from ota_agent.session import Session

_READ_BYTES = 4096
# Before the other boards have their turn: a step receives a record, however small, or answers.
_STEPS_A_TURN = 64
_TOKEN_S = 60
_TOKEN_BYTES = 32
# Of one connection: a board needs three, and three more each time it starts again.
_MOST_REQUESTS = 100
# Challenges and evidence among them.
_MOST_QUESTIONS = 20
# From the first request to a verdict, however many are made: as long as a challenge is good for.
_PROOF_S = 60.0
_RETRY_UNAVAILABLE_S = 10
_RETRY_BUSY_S = 30

_METHODS = {"/v2/challenge": "GET", "/v2/attest": "POST", "/v2/firmware": "GET"}
_NOT_KEPT = "Cache-Control: no-store\r\n"
_UNAUTHORIZED = "WWW-Authenticate: Bearer\r\n"
_RETRY_UNAVAILABLE = f"Retry-After: {_RETRY_UNAVAILABLE_S}\r\n"
_RETRY_BUSY = f"Retry-After: {_RETRY_BUSY_S}\r\n"


class Conversation:
    """channel: SHA-256 of the certificate of this connection, hex. outcome, reason: what the log
    says if the board leaves now."""

    def __init__(
        self, session: "Session", service: Service, connection: TlsConnection, channel: str
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._service = service
        self._connection = connection
        self._channel = channel
        self._reader = RequestReader()
        self._request: Request | None = None
        self._requests = self._questions = 0
        self._question: Question | None = None
        self._token = b""
        self._token_until = 0.0
        self._verdict: Verdict | None = None
        self._judgement: str | None = None
        self._firmware: Firmware | None = None
        self._range: str | None = None
        self._bytes_before = 0
        self._transfer: Transfer | None = None
        self._is_reading = self._is_in_loop = False
        self._prove_until = self._loop.time() + _PROOF_S
        self.outcome, self.reason = "closed-by-board", "closed before its first request"

    @property
    def is_settled(self) -> bool:
        """Between two requests, and the board has all that it was answered."""
        is_between = self._is_reading and self._reader.is_empty and self._requests > 0
        return is_between and self._session.has_delivered()

    @property
    def can_finish(self) -> bool:
        """Whether the agent, about to end, leaves it to the conversation to end itself."""
        return not (self._is_reading and (self._requests == 0 or not self._reader.is_empty))

    def finish(self) -> None:
        """End it if the board has had its answers; what is under way ends with its own."""
        if self._is_reading and not self._session.identified:
            self._part(self._service.settings.closing_timeout_s)

    @property
    def board(self) -> str | None:
        """Its name, where a verdict has told it."""
        return self._verdict.device if self._verdict is not None else None

    @property
    def firmware(self) -> Firmware | None:
        """What it was last offered."""
        return self._firmware

    @property
    def bytes_sent(self) -> int:
        """Of firmware, of all its requests."""
        return self._bytes_before + (self._transfer.sent if self._transfer is not None else 0)

    def account(self) -> dict[str, object]:
        """For the log: what is known of the board and what it got."""
        verdict, firmware = self._verdict, self._firmware
        return {
            "protocol": 2,
            "device": verdict.device if verdict is not None else None,
            "hwmodel": verdict.hwmodel if verdict is not None else None,
            "application": verdict.application if verdict is not None else None,
            "version": verdict.version if verdict is not None else None,
            "verdict": self._judgement,
            "claims": verdict.claims if verdict is not None else None,
            "firmware": firmware.name if firmware is not None else None,
            "range": self._range,
            "bytes": self.bytes_sent,
        }

    def close(self) -> None:
        """It is over, perhaps in the middle of what is done here."""
        self._is_reading = False
        if self._question is not None:
            self._question.cancel()
            self._question = None

    # Reading

    def begin(self, first: bytes) -> None:
        """With the first bytes, in the time that there is for a board to say who it is."""
        self._session.wait(self._service.settings.certificate_timeout_s, self._give_up_request)
        self._reader.feed(first)
        self._start_reading()

    def _start_reading(self) -> None:
        self._is_reading = True
        self._session.go_on(self._read_more)
        # A board that sends one request after another must not take us ever deeper.
        if not self._is_in_loop:
            self._read()

    def _read_more(self) -> None:
        """The board has sent something, or has left; a whole request is not there yet."""
        self._read(is_there_more=True)

    def _read(self, *, is_there_more: bool = False) -> None:
        self._is_in_loop = True
        try:
            if is_there_more:
                self._take_in()
            for _ in range(_STEPS_A_TURN):
                if not (self._is_reading and self._read_on()):
                    return
        except RequestError as error:
            self._refuse(error)
        finally:
            self._is_in_loop = False
        if self._is_reading:
            self._session.go_on(None)
            self._loop.call_soon(self._session.attempt, self._read_again)

    def _read_again(self) -> None:
        """The other boards have had their turn."""
        if self._is_reading:
            self._session.go_on(self._read_more)
            self._read()

    def _read_on(self) -> bool:
        """One step: take a request out of what is there, or receive more. False: nothing is
        there."""
        reader = self._reader
        request = None if reader.is_empty else reader.next_request()
        if request is not None:
            self._is_reading = False
            self._session.go_on(None)
            self._session.wait_for_nothing()
            self._requests += 1
            self._request = request
            self._answer(request)
        elif reader.take_continue():
            self._say(http_answer.CONTINUE, self._start_reading)
        elif not self._session.has_input():
            return False
        else:
            self._take_in()
        return True

    def _take_in(self) -> None:
        """Receive more of a request, or learn that the board has left."""
        piece = self._receive()
        if not piece:
            self._board_has_left()
            return
        if self._reader.is_empty:
            self._expect_request()
        self._reader.feed(piece)

    def _receive(self) -> bytes:
        """Empty: the board has left, in whatever way, with nothing more to be sent to it."""
        session, connection = self._session, self._connection
        try:
            if session.has_hung_up and not connection.has_input() and not connection.has_rest():
                # To find this out by reading costs more.
                connection.check()
                return b""
            return connection.receive(_READ_BYTES)
        except NOT_NOW:
            raise
        except FAILED as error:
            if self.is_settled:
                failure_of(error)
                return b""
            raise

    def _expect_request(self) -> None:
        """The first byte of one is there: the rest has so long, however it drips."""
        self._session.wait(self._service.settings.certificate_timeout_s, self._give_up_request)

    def _board_has_left(self) -> None:
        if not self._reader.is_empty:
            count = self._reader.received_bytes
            raise PeerError("closed-by-board", f"closed after {count} bytes of a request")
        if self._session.has_hung_up and self._session.has_delivered():
            self._session.end_settled()
        elif not self._connection.is_reset():
            self._part(self._service.settings.idle_timeout_s)
        elif self._transfer is not None:
            raise PeerError("connection-lost", "reset before it had everything")
        else:
            self._session.end_settled()

    def _give_up_request(self) -> None:
        seconds = self._service.settings.certificate_timeout_s
        self._is_reading = False
        self.outcome, self.reason = "request-timeout", f"not done within {seconds:g} s"
        self._say_last(problem(408, f"no request within {seconds:g} s", is_last=True))

    def _give_up_idle(self) -> None:
        """No next request. What was sent last may still be on its way to a slow board."""
        idle_s = self._service.settings.idle_timeout_s
        if self._transfer is not None:
            if self._session.has_delivered():
                self._close_transfer()
            else:
                self._session.judge()
            self._session.wait(idle_s, self._give_up_idle)
        else:
            self._part(self._service.settings.closing_timeout_s)

    def _refuse(self, error: RequestError) -> None:
        self._is_reading = False
        self.outcome, self.reason = error.outcome, str(error)
        self._say_last(problem(error.status, str(error), is_last=True))

    # Answering

    def _answer(self, request: Request) -> None:
        method = _METHODS.get(request.path)
        if self._unproved_s() <= 0:
            self.outcome, self.reason = "request-timeout", f"no verdict within {_PROOF_S:g} s"
            self._say_last(problem(408, self.reason, is_last=True))
        elif method is None:
            self._complain(404, "paths are /v2/challenge, /v2/attest and /v2/firmware")
        elif method != request.method:
            self._complain(405, f"{request.path} is for {method}", f"Allow: {method}\r\n")
        elif request.path == "/v2/challenge":
            self._challenge()
        elif request.path == "/v2/attest":
            self._attest(request)
        else:
            self._offer_firmware(request)

    def _challenge(self) -> None:
        now = self._loop.time()
        if not self._service.challenges.take(counted_as(self._session.host), now):
            # Each is kept for a minute where all replicas find it, in what is bounded.
            text = "too many challenges from this address"
            self._complain(429, text, _RETRY_UNAVAILABLE, "too-many")
        elif self._may_ask():
            self._session.enter(ATTESTING)
            self._question = self._service.attestation.challenge(
                partial(self._replied, self._challenged)
            )

    def _may_ask(self) -> bool:
        """Whether the attestation server is asked once more for this board."""
        self._questions += 1
        if self._questions > _MOST_QUESTIONS:
            self._complain(429, "too many challenges over one connection", _RETRY_BUSY, "too-many")
            return False
        return True

    def _replied(self, then: Callable[[Reply], None], reply: Reply) -> None:
        self._question = None
        self._session.attempt(partial(self._take_reply, then, reply))

    def _take_reply(self, then: Callable[[Reply], None], reply: Reply) -> None:
        self._session.enter(CONVERSING)
        then(reply)

    def _challenged(self, reply: Reply) -> None:
        try:
            nonce = read_nonce(reply) if reply.status == 200 else None
        except AnswerError as error:
            self._cannot_attest(str(error))
            return
        if nonce is None:
            self._cannot_attest(reply.failure or f"status {reply.status}")
            return
        self._session.identified = False
        self._service.counts.challenge_given()
        self.outcome, self.reason = "closed-by-board", "closed after its challenge"
        headers = f"{_NOT_KEPT}Content-Type: application/octet-stream\r\n"
        self._reply(answer(200, headers, nonce, is_last=self._is_last))

    def _attest(self, request: Request) -> None:
        # Whatever comes of it, what was there before no longer counts.
        self._token, self._verdict, self._judgement = b"", None, None
        kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/eat+cwt":
            self._complain(415, "expected evidence, application/eat+cwt")
        elif not request.body:
            self._complain(400, "no evidence")
        elif self._may_ask():
            self._session.identified = True
            self._session.enter(ATTESTING)
            self._question = self._service.attestation.attest(
                request.body, self._channel, partial(self._replied, self._judged)
            )

    def _judged(self, reply: Reply) -> None:
        if reply.status == 200:
            try:
                self._verdict = read_verdict(reply)
            except AnswerError as error:
                self._cannot_attest(str(error))
            else:
                self._grant()
        elif reply.status in (401, 403):
            self._refuse_board(reply.status, read_failed_check(reply))
        else:
            self._cannot_attest(reply.failure or f"status {reply.status}")

    def _grant(self) -> None:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._token, self._token_until = token.encode(), self._loop.time() + _TOKEN_S
        self._judgement = AFFIRMING
        self.outcome, self.reason = "closed-by-board", "closed after its verdict"
        body = f'{{"token":"{token}","expires_in":{_TOKEN_S},"verdict":"{AFFIRMING}"}}'.encode()
        headers = f"{_NOT_KEPT}Content-Type: application/json\r\n"
        # As it ends the agent still waits for those it has let in.
        is_last = self._request is not None and self._request.is_last
        self._reply(answer(200, headers, body, is_last=is_last), is_last=is_last)

    def _refuse_board(self, status: int, check: str) -> None:
        self._judgement = f"refused ({check})" if check else "refused"
        detail = "attestation failed" if status == 401 else "this board is not allowed"
        suffix = f": {check}" if check else ""
        reason = f"attestation server: status {status}" + (f" ({check})" if check else "")
        headers = _UNAUTHORIZED if status == 401 else ""
        more = {"check": check} if check else {}
        self._complain(status, detail + suffix, headers, "refused", reason, **more)

    def _cannot_attest(self, reason: str) -> None:
        """reason: for the log; a board is told no more than that it has to come again."""
        self._complain(
            503, "no word from the attestation server", _RETRY_UNAVAILABLE,
            "attestation-unavailable", f"attestation server: {reason}",
        )  # fmt: skip

    # Firmware

    def _offer_firmware(self, request: Request) -> None:
        if not self._is_authorized(request):
            self._complain(401, "no valid token of this connection", _UNAUTHORIZED, "unauthorized")
        elif not self._service.has_room:
            self._complain(429, "no bandwidth left", _RETRY_BUSY, "too-many")
        else:
            self._session.identified = True
            self._service.firmware.when_current(self._loaded)

    def _is_authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        is_known = bool(self._token) and hmac.compare_digest(token.strip(b" "), self._token)
        return is_known and scheme.lower() == b"bearer" and self._loop.time() < self._token_until

    def _loaded(self, offer: Offer) -> None:
        self._session.attempt(partial(self._serve, offer))

    def _serve(self, offer: Offer) -> None:
        request, verdict = self._request, self._verdict
        if request is None or verdict is None:
            raise ValueError("no request to serve, or no verdict")
        if self._session.has_hung_up:
            raise PeerError("closed-by-board", "closed before its firmware")
        self._firmware = firmware = offer.for_board(verdict.hwmodel, verdict.application)
        if firmware is None:
            self._complain(
                404, f"no firmware for {verdict.application or '(no name)'} on {verdict.hwmodel}",
                outcome="no-firmware",
            )  # fmt: skip
            return
        if _is_running(firmware, verdict):
            self._session.identified = False
            self.outcome, self.reason = "up-to-date", ""
            self._reply(
                answer(204, _identity_headers(firmware.sha256), None, is_last=self._is_last)
            )
            return
        size = len(firmware.image)
        etag = f'"{firmware.sha256}"'.encode()
        headers = request.headers
        try:
            selected = select_bytes(headers.get(b"range"), headers.get(b"if-range"), etag, size)
        except NotSatisfiable:
            self._complain(
                416, f"the firmware has {size} bytes", f"Content-Range: bytes */{size}\r\n"
            )
            return
        self._send_firmware(firmware, selected)

    def _send_firmware(self, firmware: Firmware, selected: Selection) -> None:
        first, end, size = selected.first, selected.end, len(firmware.image)
        self._close_transfer()
        self._range = f"bytes {first}-{end - 1}/{size}"
        where = f"Content-Range: {self._range}\r\n" if selected.is_part else ""
        status = 206 if selected.is_part else 200
        lines = (
            f"{_identity_headers(firmware.sha256)}Content-Type: application/octet-stream\r\n"
            f"Accept-Ranges: bytes\r\n{where}Content-Length: {end - first}\r\n"
        )
        self._connection.begin_transfer(self._service.settings.send_buffer_bytes)
        self._say(
            http_answer.head(status, lines, is_last=self._is_last),
            partial(self._send_body, firmware, selected),
        )

    def _send_body(self, firmware: Firmware, selected: Selection) -> None:
        now = self._loop.time()
        transfer = Transfer(
            self._connection, firmware, self._service.pacer(), now, selected.first, selected.end
        )
        self._transfer = transfer
        self._session.send(transfer, self._sent)

    def _sent(self) -> None:
        self.outcome, self.reason = "sent", ""
        if self._is_last:
            self._part(self._service.settings.idle_timeout_s)
            return
        self._session.identified = False
        self._session.enter(CONVERSING)
        self._connection.end_transfer()
        # The deadline stays: what watched over the transfer watches until all has arrived.
        self._session.at_deadline(self._give_up_idle)
        self._start_reading()

    def _close_transfer(self) -> None:
        if self._transfer is not None:
            self._bytes_before += self._transfer.sent
            self._transfer = None
            self._session.forget_transfer()

    # Saying

    @property
    def _is_last(self) -> bool:
        """The connection is closed after the answer."""
        is_asked = self._request is not None and self._request.is_last
        return is_asked or self._service.is_finishing or self._requests >= _MOST_REQUESTS

    def _complain(
        self,
        status: int,
        detail: str,
        headers: str = "",
        outcome: str = "bad-request",
        reason: str = "",
        **more: str,
    ) -> None:
        self._session.identified = False
        self.outcome, self.reason = outcome, reason or f"{status}: {detail}"
        is_head = self._request is not None and self._request.method == "HEAD"
        is_last = self._is_last
        self._reply(
            problem(status, detail, headers, is_last=is_last, is_head=is_head, **more),
            is_last=is_last,
        )

    def _reply(self, content: bytes, *, is_last: bool | None = None) -> None:
        """A whole answer, after which the next request may come."""
        if self._is_last if is_last is None else is_last:
            self._say_last(content)
        else:
            self._say(content, self._await_request)

    def _unproved_s(self) -> float:
        """How long a board that has proved nothing may still be here."""
        if self._verdict is not None:
            return math.inf
        return self._prove_until - self._loop.time()

    def _await_request(self) -> None:
        if self._reader.is_empty:
            idle_s = min(self._service.settings.idle_timeout_s, max(0.0, self._unproved_s()))
            self._session.wait(idle_s, self._give_up_idle)
        else:
            self._expect_request()
        self._start_reading()

    def _say_last(self, content: bytes) -> None:
        self._say(content, partial(self._part, self._service.settings.closing_timeout_s))

    def _say(self, content: bytes, then: Callable[[], None]) -> None:
        """Of at most a record. The board has the idle time to take it."""
        self._is_reading = False
        try:
            self._connection.send(content)
        except WantWrite:
            self._session.allow("transfer", self._service.settings.idle_timeout_s)
            self._session.go_on(partial(self._write, content, then))
            raise
        then()

    def _write(self, content: bytes, then: Callable[[], None]) -> None:
        self._connection.send(content)
        then()

    def _part(self, idle_s: float) -> None:
        self._is_reading = False
        self._session.part(self.outcome, self.reason, idle_s)


@lru_cache(maxsize=64)
def _identity_headers(sha256: str) -> str:
    """Which firmware it is, whatever part of it is sent (RFC 9110, 8.8.3; RFC 9530, 3)."""
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    return f'ETag: "{sha256}"\r\nRepr-Digest: sha-256=:{digest}:\r\n'


def _is_running(firmware: Firmware, verdict: Verdict) -> bool:
    """Whether the board runs this very firmware: by its digest, where that is known, else by name
    and version. An empty version is unknown."""
    if verdict.image_digest is not None:
        return verdict.image_digest in firmware.digests
    is_same = firmware.version == verdict.version and firmware.project == verdict.application
    return bool(firmware.version) and is_same
