"""Golden bytes of protocol 2, board's side: what it sends in one whole exchange, and what it takes
for an answer, cut in any way. On both runtimes."""

import asyncio

import golden_exchange as golden

from esp_image import acceptance
from esp_image.build import build_app
from ota_crypto import steps
from ota_service import (
    OtaService,
    agent_answers,
    attest_answers,
    device_identity,
    firmware_answers,
    firmware_body,
)
from ota_service.descriptor import read_descriptor
from ota_service.errors import OtaError, PeerError
from ota_service.patience import Patience
from ota_service.resumable import ResumableSession
from ota_service.trust import Trust
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

HOST = "ota-agent:4433"
OLD = build_app("1.0.0", "thermo", chip="esp32c6")
NEW = build_app("2.0.0", "thermo", chip="esp32c6", size=20000)


class Stream:
    """Reader and writer of a connection: gives out `answers` in pieces, keeps what is written.

    An answer comes when its request has been sent. piece: bytes a read at most.
    """

    def __init__(self, answers, piece):
        self.s = self
        self.sent = []
        self._answers = list(answers)
        self._piece = piece
        self._unread = b""

    def write(self, data):
        assert not self._unread, "a request before the answer has been read"
        self.sent.append(bytes(data))
        self._unread = self._answers.pop(0)

    async def drain(self):
        pass

    def readinto(self, view):
        count = min(len(view), self._piece, len(self._unread))
        view[:count] = self._unread[:count]
        self._unread = self._unread[count:]
        return count

    async def read(self, size):
        room = bytearray(size)
        return bytes(room[: self.readinto(memoryview(room))])


def new_board():
    flash = NorFlash(MemoryStorage(flash_content(0x40000, OLD)))
    board = VirtualBoard(flash, EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6"))
    board.boot()
    board.nvs("dice").set_blob("uds", golden.UDS)
    OtaService(board, {"identity": "provisioned"})  # its application has run before
    return board


def new_session(board):
    slot = board.running_partition().get_next_update()
    trust = Trust("none", [], unsigned_allowed=True)
    expected = acceptance.Expected(13, running=read_descriptor(board.running_partition()))
    session = ResumableSession(slot, expected, trust, board)
    session.begin_attempt()
    return session


def evidence_of(board, nonce):
    service = OtaService(board, {"identity": "provisioned"})
    steps.run(device_identity.certificate_steps(service))
    return steps.run(device_identity.evidence_steps(service, nonce, golden.CHANNEL))


async def exchange(board, session, stream):
    """One whole exchange; the verdict."""
    session.connected()
    stream.write(attest_answers.challenge_request(HOST))
    agent = agent_answers.Agent(stream, stream, HOST)
    nonce = await attest_answers.challenge(agent)
    token, verdict = await attest_answers.attest(agent, evidence_of(board, nonce))
    steps.run(session.resume_steps())
    first, length = await firmware_answers.open_firmware(agent, token, session)
    await firmware_body.receive(
        stream, first, length, session, Patience(60), 10, lambda received, total: None
    )
    return verdict


def play(answers, piece=65536, session=None, board=None):
    board = board or new_board()
    session = session or new_session(board)
    stream = Stream(answers, piece)
    return asyncio.run(exchange(board, session, stream)), session, stream.sent


def firmware_answer():
    return golden.FIRMWARE_HEAD + NEW


def test_the_bytes_of_a_whole_exchange_are_fixed():
    verdict, session, sent = play(
        (golden.CHALLENGE_ANSWER, golden.ATTEST_ANSWER, firmware_answer())
    )
    assert sent == [golden.CHALLENGE_REQUEST, golden.ATTEST_REQUEST, golden.FIRMWARE_REQUEST]
    assert verdict == "affirming"
    assert session.received == len(NEW)
    steps.run(session.verify_steps())
    session.switch(lambda: True)


def test_the_answers_may_come_in_pieces_of_any_size():
    for piece in (1, 2, 3, 63, 511, 512, 513, 4095, 4096, 4097):
        verdict, session, _ = play(
            (golden.CHALLENGE_ANSWER, golden.ATTEST_ANSWER, firmware_answer()), piece
        )
        assert verdict == "affirming"
        assert session.received == len(NEW)


def test_a_lost_transfer_is_asked_for_from_where_it_was_lost():
    """The same session goes on in its next attempt, with the same bytes as golden."""
    board = new_board()
    session = new_session(board)
    start = golden.RESUMED_FROM
    cut = firmware_answer()[: len(golden.FIRMWARE_HEAD) + start]
    try:
        play((golden.CHALLENGE_ANSWER, golden.ATTEST_ANSWER, cut), 1000, session, board)
        raise AssertionError("the end was not noticed")
    except PeerError as error:
        assert error.code == "connection-lost"
        session.fail(error)
    session.begin_attempt()
    answers = (golden.CHALLENGE_ANSWER, golden.ATTEST_ANSWER, golden.RESUMED_HEAD + NEW[start:])
    _, session, sent = play(answers, 1000, session, board)
    assert sent[2] == golden.RESUMED_REQUEST
    assert session.received == len(NEW)
    steps.run(session.verify_steps())
    session.switch(lambda: True)
    assert board.boot().partition.label == "ota_1"


def test_nothing_newer_leaves_the_session_as_it_was():
    board = new_board()
    operations = board.flash.operations
    answers = (golden.CHALLENGE_ANSWER, golden.ATTEST_ANSWER, golden.UP_TO_DATE)
    session = new_session(board)
    try:
        play(answers, session=session, board=board)
        raise AssertionError("nothing was taken for something")
    except OtaError as error:
        assert (error.code, error.may_retry, error.pause_s) == ("up-to-date", False, None)
    assert session.state == "idle"
    assert board.flash.operations == operations


def problem(status, body, kind="application/problem+json"):
    return (
        "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body))
    ).encode() + body


def message_of(answer):
    """What an error says whose answer this is."""
    try:
        play((answer,))
    except OtaError as error:
        return error.message
    raise AssertionError("not refused")


def test_a_problem_is_told_on_one_line_and_no_more_of_it():
    said = message_of(problem("500 X", b'{"title": "Broken", "detail": "a\\r\\nb\\u00e4\\u001b"}'))
    assert said == "GET /v2/challenge: 500: Broken: a??b??"
    long = b'{"detail": "' + 900 * b"x" + b'"}'
    assert message_of(problem("500 X", long)) == "GET /v2/challenge: 500: " + 120 * "x"
    for body in (b"", b"{", b"[]", b'{"title": 5}', b"\xff", 2000 * b" ", 900 * b"["):
        assert message_of(problem("500 X", body)) == "GET /v2/challenge: 500"
    said = message_of(problem("500 X", b'{"title": "Not this"}', "application/json"))
    assert said == "GET /v2/challenge: 500"
