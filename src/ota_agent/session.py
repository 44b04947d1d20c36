"""What happens with one board: TLS, its certificate, the verdict, the firmware, one log line.

The first byte tells which protocol it speaks: what follows in protocol 2 is `conversation`'s,
which drives this session from then on.

A session is a state machine driven from outside: `ready` when its socket may go on, `expire` when
its deadline has passed, and the attestation server's answer. No coroutine and no timer of its own:
with thousands of boards these would cost as much as what is done for them. Whatever a board does
ends its own session only.

    greeting -> attesting -> sending -> parting -> over           protocol 1
    greeting -> (conversing -> sending) again and again -> parting -> over    protocol 2

From all but sending a board that gets nothing goes to parting, where a TLS alert may still
be on its way; one that was given a part of the image is cut off, and sees that it was.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from dice import certificate
from ota_agent.attestation import Answer, Question
from ota_agent.board_identity import NOBODY, identity_of
from ota_agent.conversation import Conversation
from ota_agent.counts import ATTESTING, CONVERSING, GREETING, PARTING, SENDING, STATES
from ota_agent.errors import PeerError
from ota_agent.farewell import CLOSING_BYTES, Farewell
from ota_agent.firmware import Firmware
from ota_agent.offer import Offer
from ota_agent.protocol1 import FIRST_BYTE, CertificateReader
from ota_agent.readiness import HUNG_UP, READ, WRITE
from ota_agent.service import Service
from ota_agent.structured_log import log_event
from ota_agent.tls_connection import (
    FAILED,
    NOT_NOW,
    TlsConnection,
    WantRead,
    WantWrite,
    failure_of,
)
from ota_agent.transfer import Progress, Transfer

# Of a certificate, however small, before the other boards have their turn.
_PIECES_A_TURN = 64
# How often a connection that is being closed is looked at.
_FAREWELL_S = 0.25
# What a line says of a board of which nothing is known.
_NOTHING: dict[str, Any] = {
    "protocol": None, "key_id": None, "root_key_id": None, "firmware": None, "bytes": 0,
}  # fmt: skip


class Session:
    """One accepted connection (non-blocking, owned from here on) of the board at peer.

    ended: called once, when it is over. deadline: the event loop's time at which `expire` is to
    be called; it sets the next one. identified: before the board has said who it is, a shutdown
    does not wait for it. Raises OSError if the connection is gone already.
    """

    def __init__(
        self,
        service: Service,
        sock: socket.socket,
        peer: str,
        ended: "Callable[[Session], None]",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._connection = TlsConnection(sock, service.certificate.context)
        self._channel = service.certificate.channel
        self._peer = peer
        self._ended = ended
        self._started = self._loop.time()
        self._reader = CertificateReader()
        self._has_shaken_hands = False
        self._protocol: int | None = None
        self._board = NOBODY
        self._conversation: Conversation | None = None
        self._question: Question | None = None
        self._firmware: Firmware | None = None
        self._transfer: Transfer | None = None
        self._farewell: Farewell | None = None
        self._is_parting = False
        self._is_over = False
        self._outcome, self._reason = "cancelled", "the agent is shutting down"
        self._counted_bytes = 0
        self.identified = False
        # One of counts.STATES, by its place.
        self.state = GREETING
        # The state: what to do when the socket is ready (None: nothing) for these events, and at
        # the deadline.
        self._go_on: Callable[[], None] | None = self._greet
        self._awaited = READ
        self._has_hung_up = False
        self._overdue: Callable[[], None] | None = None
        self.deadline = math.inf
        self.allow("handshake", service.settings.handshake_timeout_s)
        service.readiness.add(self._connection.descriptor, self.ready)
        service.counts.session_began()

    @property
    def is_over(self) -> bool:
        """Nothing of it is left but this."""
        return self._is_over

    @property
    def started(self) -> float:
        """When, of the event loop's time."""
        return self._started

    @property
    def host(self) -> str:
        """The board's address."""
        return self._peer.rpartition(":")[0].strip("[]")

    def enter(self, state: int) -> None:
        """It is in another state of counts.STATES from now on."""
        self._service.counts.session_moved(self.state, state)
        self.state = state

    def count_bytes(self) -> None:
        """Count what has been sent since this was last called."""
        sent = self._bytes()
        self._service.counts.sent_bytes(sent - self._counted_bytes)
        self._counted_bytes = sent

    def describe(self, now: float) -> dict[str, object]:
        """For who watches the agent; what is known, and how far it is. Not when it is over."""
        transfer, conversation = self._transfer, self._conversation
        if conversation is not None:
            board, firmware = conversation.board, conversation.firmware
        else:
            board, firmware = self._board.root_key_id, self._firmware
        taken = total = rate = None
        if transfer is not None and self.state in (SENDING, PARTING):
            taken = transfer.taken
            total = transfer.total
            rate = taken / max(now - transfer.started, 1e-3)
        return {
            "peer": self._peer,
            "board": board,
            "protocol": self._protocol if conversation is None else 2,
            "state": STATES[self.state],
            "firmware": firmware.name if firmware is not None else None,
            "bytes": taken or 0,
            "total": total,
            "bytes_per_s": round(rate or 0.0, 1),
            "age_s": round(now - self._started, 3),
        }

    # Driven from outside

    def ready(self, events: int) -> None:
        """The socket has news: bits of readiness.READ, WRITE and HUNG_UP."""
        if events & HUNG_UP:
            self._has_hung_up = True
        if events & self._awaited:
            self._proceed()

    def _proceed(self) -> None:
        if self._go_on is not None:
            self._attempt(self._go_on)

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = math.inf
        if self._overdue is not None:
            self._attempt(self._overdue)

    def finish(self) -> None:
        """The agent is about to end: who has said who they are may go on."""
        if self._conversation is not None and self._conversation.can_finish:
            self._attempt(self._conversation.finish)
        elif not self.identified:
            self.cancel()

    def cancel(self) -> bool:
        """End it at once, as the agent ends; whether the board might have got (more) firmware."""
        if self._is_over:
            return False
        if self._is_parting and self._outcome != "sent":
            self._end()
            return False
        if self._farewell is not None and self._farewell.has_delivered:
            self._end(is_complete=True)
            return False
        if self._conversation is not None and self._conversation.is_settled:
            self.end_settled()
            return False
        self._outcome, self._reason = "cancelled", "the agent is shutting down"
        self._end()
        return True

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do a piece of work; what goes wrong in it ends this session."""
        try:
            work()
        except WantRead:
            self._awaited = READ
        except WantWrite:
            self._awaited = WRITE
        except PeerError as error:
            self._fail(error.outcome, str(error))
        except FAILED as error:
            self._fail("connection-lost", failure_of(error), is_broken=True)
        except Exception as error:
            # A bug of ours: it costs this board its session, it must not cost the others theirs.
            self._fail("internal-error", f"{type(error).__name__}: {error}", is_broken=True)
            self._loop.call_exception_handler({"message": "session failed", "exception": error})

    # Greeting: the handshake, then the certificate

    def _greet(self) -> None:
        if not self._has_shaken_hands:
            self._shake_hands()
            # In TLS 1.2 the board has yet to hear of it.
            if not self.has_input():
                return
        piece = self._connection.receive(self._reader.most)
        if piece[:1].isalpha():
            self._converse(piece)
            return
        if piece[:1] == b"%c" % FIRST_BYTE:
            self._protocol = 1
            if self._service.settings.require_attestation:
                raise PeerError("attestation-required", "protocol 1 is refused here")
        self._go_on = self._read_certificate
        self._reader.feed(piece)
        self._read_certificate()

    def _read_certificate(self) -> None:
        reader, receive = self._reader, self._connection.receive
        for _ in range(_PIECES_A_TURN):
            if reader.is_whole:
                self._attest(reader.certificate)
                return
            reader.feed(receive(reader.most))
        self._loop.call_soon(self._proceed)

    def _converse(self, first: bytes) -> None:
        self.enter(CONVERSING)
        self._conversation = Conversation(self, self._service, self._connection, self._channel)
        self._conversation.begin(first)

    def _shake_hands(self) -> None:
        try:
            self._connection.handshake()
        except NOT_NOW:
            raise
        except FAILED as error:
            raise PeerError("handshake-failed", failure_of(error)) from error
        self._has_shaken_hands = True
        self.allow("certificate", self._service.settings.certificate_timeout_s)

    # Attesting: the server's verdict, then the firmware there is

    def _attest(self, presented: bytes) -> None:
        self._go_on = None
        self.enter(ATTESTING)
        self.deadline = math.inf
        self.identified = True
        self._board = identity_of(presented)
        pem = certificate.to_pem(presented).encode()
        self._question = self._service.attestation.ask(pem, self._answered)

    def _answered(self, answer: Answer) -> None:
        self._question = None
        if answer.accepted:
            self._service.firmware.when_current(self._loaded)
        else:
            self._fail(answer.outcome, answer.reason)

    def _loaded(self, offer: Offer) -> None:
        firmware = offer.default
        if firmware is None:
            self._fail("no-firmware", offer.no_default)
        elif not self._is_over:
            self._firmware = firmware
            self._attempt(partial(self._start_sending, firmware))

    # Sending

    def _start_sending(self, firmware: Firmware) -> None:
        self._expect_silence()
        service = self._service
        self._connection.begin_transfer(service.settings.send_buffer_bytes)
        transfer = Transfer(self._connection, firmware, service.pacer(), self._loop.time())
        self.send(transfer, partial(self.part, "sent", "", service.settings.idle_timeout_s))

    def _expect_silence(self) -> None:
        """Nothing may follow the certificate, and nobody gets firmware who has left."""
        if not self._has_hung_up and not self._connection.has_input():
            return
        try:
            more = self._connection.receive(1)
        except NOT_NOW:
            return
        if more:
            raise PeerError("bad-certificate", "bytes after the certificate")
        raise PeerError("closed-by-board", "closed while it was being attested")

    def send(self, transfer: Transfer, done: Callable[[], None]) -> None:
        """Send all of it, to a board that takes it fast enough; done is called then."""
        self._transfer = transfer
        self.enter(SENDING)
        self._go_on = partial(self._send, transfer, done)
        self.wait(self._service.settings.idle_timeout_s, partial(self._judge, transfer))
        # Not before what is short has had its turn: a question that came with this one should not
        # wait for a megabyte, nor be answered with caches that a megabyte has gone through.
        self._loop.call_soon(self._proceed)

    def _send(self, transfer: Transfer, done: Callable[[], None]) -> None:
        progress = transfer.go_on(self._loop.time())
        if progress is Progress.DONE:
            done()
        elif progress is Progress.TURN:
            self._loop.call_soon(self._proceed)
        else:
            self._go_on = None
            self._loop.call_at(transfer.later, partial(self._resume, transfer, done))

    def _resume(self, transfer: Transfer, done: Callable[[], None]) -> None:
        """The bandwidth limit allows the next bytes."""
        if not self._is_over:
            self._go_on = partial(self._send, transfer, done)
            self._proceed()

    def _judge(self, transfer: Transfer) -> None:
        settings = self._service.settings
        transfer.judge(settings.idle_timeout_s, settings.least_bytes_per_s)
        self.wait(settings.idle_timeout_s, partial(self._judge, transfer))

    # For the conversation

    @property
    def has_hung_up(self) -> bool:
        """The board sends nothing more."""
        return self._has_hung_up

    def has_input(self) -> bool:
        """Whether there may be something to receive, the end included; else it is waited for."""
        if self._has_hung_up or self._connection.has_input() or self._connection.has_rest():
            return True
        self._awaited = READ
        return False

    def go_on(self, work: Callable[[], None] | None) -> None:
        """What to do when the socket is ready; None: nothing, whatever the socket does."""
        self._go_on = work

    def at_deadline(self, overdue: Callable[[], None]) -> None:
        """What to do at the deadline that there is."""
        self._overdue = overdue

    def wait_for_nothing(self) -> None:
        """Somebody else than the board is to do something."""
        self.deadline = math.inf

    def attempt(self, work: Callable[[], None]) -> None:
        """Do a piece of work that nothing here has called; not if it is over meanwhile."""
        if not self._is_over:
            self._attempt(work)

    def has_delivered(self) -> bool:
        """Whether the board has everything it was sent."""
        return self._connection.unacknowledged_bytes() <= CLOSING_BYTES

    def judge(self) -> None:
        """Raises PeerError where the board took too little of what was sent last."""
        transfer, settings = self._transfer, self._service.settings
        if transfer is not None:
            transfer.judge(settings.idle_timeout_s, settings.least_bytes_per_s)

    def forget_transfer(self) -> None:
        """What was sent last has arrived, and is watched no more."""
        if self._transfer is not None:
            self._transfer.end()
            self._transfer = None

    def end_settled(self) -> None:
        """End it at once: between two requests, everything has been delivered."""
        if self._conversation is not None:
            self._outcome, self._reason = self._conversation.outcome, self._conversation.reason
        self._end(is_complete=True)

    # Parting

    def part(self, outcome: str, reason: str, idle_s: float) -> None:
        """Close the connection once the board has everything; idle_s: how long it may take
        nothing until then."""
        self._outcome, self._reason = outcome, reason
        self._is_parting = True
        self.enter(PARTING)
        # A board that takes nothing does not let us end either: what watched over the transfer
        # goes on watching. One that was given nothing has so long.
        if self._transfer is None:
            self.allow("closing", idle_s)
        else:
            # In protocol 2 nothing does while a later request is answered.
            until = self._loop.time() + self._service.settings.idle_timeout_s
            self.deadline = min(self.deadline, until)
            self._overdue = partial(self._judge, self._transfer)
        self._go_on = partial(self._say_goodbye, idle_s)
        self._say_goodbye(idle_s)

    def _say_goodbye(self, idle_s: float) -> None:
        closing_s = self._service.settings.closing_timeout_s
        now = self._loop.time()
        least = self._service.settings.least_bytes_per_s if self._transfer is not None else 0.0
        farewell = Farewell(
            self._connection, now, idle_s=idle_s, closing_s=closing_s, least_bytes_per_s=least
        )
        self._farewell = farewell
        self._go_on = partial(self._see_off, farewell)
        self._awaited = READ
        if self._has_hung_up:
            self._see_off(farewell)
        else:
            self.wait(_FAREWELL_S, partial(self._see_off, farewell))

    def _see_off(self, farewell: Farewell) -> None:
        if farewell.is_over(self._loop.time()):
            self._end(is_complete=True)
        else:
            self.wait(_FAREWELL_S, partial(self._see_off, farewell))

    # The end

    def _fail(self, outcome: str, reason: str, *, is_broken: bool = False) -> None:
        if self._is_over:
            return
        if is_broken or self._is_parting or self._transfer is not None:
            # A board that was given nothing has its outcome already.
            if not self._is_parting or self._outcome == "sent":
                self._outcome, self._reason = outcome, reason
            self._end()
        else:
            closing_s = self._service.settings.closing_timeout_s
            self._attempt(partial(self.part, outcome, reason, closing_s))

    def _end(self, *, is_complete: bool = False) -> None:
        """is_complete: the board has everything that was meant for it, and may know it."""
        self._is_over = True
        self.deadline = math.inf
        # Each of these holds the session, which holds them.
        self._go_on = self._overdue = None
        if self._question is not None:
            self._question.cancel()
        if self._transfer is not None:
            self._transfer.end()
        self._service.readiness.remove(self._connection.descriptor)
        if is_complete:
            self._connection.close()
        else:
            self._connection.abort()
        self._log()
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None
        self._ended(self)

    def _bytes(self) -> int:
        """Of firmware, given to the kernel."""
        if self._conversation is not None:
            return self._conversation.bytes_sent
        return self._transfer.sent if self._transfer is not None else 0

    def _log(self) -> None:
        seconds = self._loop.time() - self._started
        if self._conversation is not None:
            about = self._conversation.account()
        else:
            firmware = self._firmware
            about = {
                "protocol": self._protocol,
                "key_id": self._board.key_id,
                "root_key_id": self._board.root_key_id,
                "firmware": firmware.name if firmware is not None else None,
                "bytes": self._bytes(),
            }
        counts = self._service.counts
        self.count_bytes()
        counts.session_left(self.state)
        counts.session_ended(
            self._protocol if self._conversation is None else 2, self._outcome, seconds
        )
        log_session(self._peer, self._outcome, self._reason, seconds, about)

    # Deadlines

    def allow(self, name: str, seconds: float) -> None:
        """Give the board so long for what it has to do."""
        self.wait(seconds, partial(_give_up, name, seconds))

    def wait(self, seconds: float, overdue: Callable[[], None]) -> None:
        self._overdue = overdue
        self.deadline = self._loop.time() + seconds


def log_session(
    peer: str, outcome: str, reason: str, seconds: float = 0.0, about: dict[str, Any] = _NOTHING
) -> None:
    """The one line of a session. about: what is known of the board and what it got."""
    log_event(
        "session",
        peer=peer,
        **about,
        seconds=round(seconds, 3),
        outcome=outcome,
        reason=reason,
    )


def _give_up(name: str, seconds: float) -> None:
    raise PeerError(f"{name}-timeout", f"not done within {seconds:g} s")
