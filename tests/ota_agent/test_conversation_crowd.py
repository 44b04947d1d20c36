"""Faulty clients of protocol 2, hundreds at once, and good boards of both protocols among them."""

import asyncio
import socket
import threading
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import pytest

from ota_agent.conversation import Conversation
from ota_agent.firmware_file import FirmwareFile
from ota_agent.http_request import Request
from ota_agent.transfer import Progress, Transfer
from tests.ota_agent.attested_scene import AttestedScene, HttpBoard, attested_scene
from tests.ota_agent.board_peer import BoardPeer, reset
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Turns, living_sessions

CLIENTS = 200
IMAGE = signed_image(size=1_000_000)
CHALLENGE = b"GET /v2/challenge HTTP/1.1\r\nHost: a\r\n\r\n"
EVIDENCE = (
    b"POST /v2/attest HTTP/1.1\r\nHost: a\r\nContent-Type: application/eat+cwt\r\n"
    b"Content-Length: 3\r\n\r\nabc"
)
# Past the handshake: half a request, some that are never read, no end of them, no end of headers,
# half of the evidence, garbage.
SENT = [
    CHALLENGE[:30], CHALLENGE, CHALLENGE * 300, CHALLENGE + EVIDENCE + CHALLENGE,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, EVIDENCE[:-1], b"G" + bytes(500),
]  # fmt: skip


def crowd(here: AttestedScene) -> list[socket.socket]:
    """Some asking for firmware that they never read; half of the others gone again."""
    clients = []
    for number, sent in enumerate(islice(cycle([*SENT, None]), CLIENTS)):
        board = BoardPeer(here.agent.address, here.context, receive_buffer=4096)
        with suppress(OSError):
            if sent is None:
                speaker = HttpBoard(board)
                speaker.send("GET", "/v2/firmware", f"Authorization: Bearer {speaker.token()}")
            else:
                board.socket.sendall(sent)
        if number % 4 == 0:
            board.socket.close()
        elif number % 4 == 1:
            reset(board.socket)
        else:
            clients.append(board.socket)
    return clients


def test_a_crowd_of_faulty_clients_does_not_keep_good_boards_from_their_firmware(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        # The good boards are at the address of the others here: its share of challenges is not what
        # this is about (test_challenge_flood).
        limits = {"closing_timeout_s": 0.5, "challenge_rate": 1e6}
        async with attested_scene(tmp_path, image=IMAGE, **limits) as here:
            before = here.open_descriptors()
            clients = await asyncio.to_thread(crowd, here)
            try:
                for _ in range(3):
                    found = await here.talk(lambda board: board.firmware(board.token()))
                    assert found.body == IMAGE
                    assert await here.update(board_certificate) == IMAGE
            finally:
                for client in clients:
                    client.close()
            lines = [await here.agent.next_session() for _ in range(CLIENTS + 6)]
            whole = [line for line in lines if line["bytes"] == len(IMAGE)]
            assert sum(line["outcome"] == "sent" for line in whole) >= 6
            assert "internal-error" not in {line["outcome"] for line in lines}
            for _ in range(10):
                await asyncio.sleep(0)
            assert here.open_descriptors() == before
            assert living_sessions() == 0

    asyncio.run(run())


def test_many_requests_in_the_smallest_records_let_others_have_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are there at once: a record costs us as much whether it has a byte or a thousand,
    and a board without a token may send a hundred requests of some thousand records each."""
    count = 40
    answered: list[int] = []
    turns = Turns()
    answer = Conversation._answer

    def note(conversation: Conversation, request: Request) -> None:
        answered.append(turns.count)
        answer(conversation, request)

    monkeypatch.setattr(Conversation, "_answer", note)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with attested_scene(tmp_path) as here:
            is_there, has_sent = asyncio.Event(), threading.Event()

            def work(board: HttpBoard) -> list[int]:
                loop.call_soon_threadsafe(is_there.set)
                for byte in b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" * count:
                    board.socket.send(bytes([byte]))
                has_sent.set()
                return [board.response().status for _ in range(count)]

            talking = asyncio.create_task(here.talk(work))
            await is_there.wait()
            assert has_sent.wait(5)  # nobody has a turn meanwhile
            turns.begin()
            assert await talking == [404] * count

    asyncio.run(run())
    assert len(set(answered)) > 3


def test_a_request_is_answered_before_the_firmware_that_another_has_asked_for_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are there at once, the one for firmware first: a megabyte does not hold up a line."""
    done: list[str] = []
    answer, go_on = Conversation._answer, Transfer.go_on

    def note_answer(conversation: Conversation, request: Request) -> None:
        done.append(request.path)
        answer(conversation, request)

    def note_sending(transfer: Transfer, now: float) -> Progress:
        done.append("sending")
        return go_on(transfer, now)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with attested_scene(tmp_path, image=IMAGE) as here:
            ready = [asyncio.Event(), asyncio.Event()]
            may_ask, has_asked, both_have = (threading.Event() for _ in range(3))

            def ask_firmware(board: HttpBoard) -> bytes:
                token = board.token()
                loop.call_soon_threadsafe(ready[0].set)
                assert may_ask.wait(5)
                board.send("GET", "/v2/firmware", f"Authorization: Bearer {token}")
                has_asked.set()
                return board.response().body

            def ask_nothing(board: HttpBoard) -> list[int]:
                board.send("GET", "/nothing")
                statuses = [board.response().status]
                loop.call_soon_threadsafe(ready[1].set)
                assert has_asked.wait(5)
                board.send("GET", "/nothing")
                both_have.set()
                return [*statuses, board.response().status]

            talks = [asyncio.create_task(here.talk(each)) for each in (ask_firmware, ask_nothing)]
            for each in ready:
                await each.wait()
            monkeypatch.setattr(Conversation, "_answer", note_answer)
            monkeypatch.setattr(Transfer, "go_on", note_sending)
            # As a file that has been there for a while.
            monkeypatch.setattr(FirmwareFile, "when_current", lambda file, take: take(file.offer))
            may_ask.set()
            assert both_have.wait(5)  # nobody has a turn meanwhile
            assert await asyncio.gather(*talks) == [IMAGE, [404, 404]]

    asyncio.run(run())
    assert done[:3] == ["/v2/firmware", "/nothing", "sending"]
