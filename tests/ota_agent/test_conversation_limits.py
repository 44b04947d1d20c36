"""Boards that speak protocol 2 slowly, badly or never to the end: the limits hold for them too."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from ota_agent.errors import UnfinishedError
from tests.ota_agent.attested_scene import (
    AttestedScene,
    HttpBoard,
    ScriptedServer,
    attested_scene,
    verdict,
)
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE

pytestmark = pytest.mark.usefixtures("quick_deadlines")
LARGE = signed_image(size=6_000_000)
A_BOARDS_BUFFER = 4096


def ask_firmware(board: HttpBoard, *headers: str) -> None:
    board.send("GET", "/v2/firmware", f"Authorization: Bearer {board.token()}", *headers)


@pytest.mark.parametrize("sent", [b"G", b"GET /v2/challenge HTTP/1.1\r\nHost: a\r\nX: "])
@pytest.mark.parametrize("drips", [False, True])
def test_a_request_that_does_not_come_to_its_end_is_given_up(
    tmp_path: Path, board_certificate: bytes, sent: bytes, drips: bool
) -> None:
    async def run() -> None:
        limits = {"certificate_timeout_s": 0.2}
        async with (
            attested_scene(tmp_path, **limits) as here,
            here.unharmed(board_certificate),
        ):

            def work(board: HttpBoard) -> None:
                board.socket.sendall(sent)
                pause = threading.Event()
                for _ in range(30 if drips else 0):
                    pause.wait(0.01)
                    board.socket.sendall(b"a")
                found = board.response()
                assert (found.status, found.headers["connection"]) == (408, "close")
                assert board.is_closed()

            if drips:
                # The agent may close while the last drops are under way.
                with suppress(OSError):
                    await here.talk(work)
            else:
                await here.talk(work)
            line = await here.agent.next_session()
            assert (line["outcome"], line["protocol"]) == ("request-timeout", 2)

    asyncio.run(run())


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, certificate_timeout_s=0.2) as here:

            def work(board: HttpBoard) -> int:
                board.challenge()
                kind = "Content-Type: application/eat+cwt"
                board.send("POST", "/v2/attest", kind, "Content-Length: 1000")
                board.socket.sendall(bytes(999))
                return board.response().status

            assert await here.talk(work) == 408
            assert here.server.heads("/attest") == []

    asyncio.run(run())


def test_a_board_that_asks_for_nothing_more_is_closed(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with (
            attested_scene(tmp_path, idle_timeout_s=0.2) as here,
            here.unharmed(board_certificate),
        ):

            def work(board: HttpBoard) -> None:
                board.token()
                assert board.is_closed()

            await here.talk(work)
            line = await here.agent.next_session()
            assert line["outcome"] == "closed-by-board"
            assert line["reason"] == "closed after its verdict"

    asyncio.run(run())


def test_a_board_that_has_its_firmware_and_stays_is_closed_and_has_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, idle_timeout_s=0.2) as here:

            def work(board: HttpBoard) -> bytes:
                found = board.firmware(board.token())
                assert board.is_closed()
                return found.body

            assert await here.talk(work) == IMAGE
            assert (await here.agent.next_session())["outcome"] == "sent"

    asyncio.run(run())


async def slow_board(here: AttestedScene, piece_bytes: int, pause_s: float) -> tuple[int, Any]:
    """One that reads its firmware so slowly. What it got, and how it ended."""
    over = threading.Event()

    def work(board: HttpBoard) -> tuple[int, Any]:
        ask_firmware(board, "Connection: close")
        received = 0
        try:
            while piece := board.socket.recv(piece_bytes):
                received += len(piece)
                over.wait(pause_s)
        except OSError as error:
            return received, error
        return received, None

    try:
        return await here.talk(work, receive_buffer=A_BOARDS_BUFFER)
    finally:
        over.set()


def test_a_board_below_the_minimum_rate_is_cut_off(tmp_path: Path) -> None:
    limits = {"idle_timeout_s": 0.3, "least_bytes_per_s": 10**9, "send_buffer_bytes": 65536}

    async def run() -> None:
        async with attested_scene(tmp_path, image=LARGE, **limits) as here:
            received, ending = await slow_board(here, 2048, 0.01)
            line = await here.agent.next_session()
            assert line["outcome"] == "too-slow"
            assert ending is not None
            assert 0 < received < len(LARGE)

    asyncio.run(run())


def test_a_slow_board_above_the_minimum_rate_gets_all_of_it(tmp_path: Path) -> None:
    """Several idle timeouts after the agent has written the last byte."""
    image = signed_image(size=150_000)

    async def run() -> None:
        limits = {"idle_timeout_s": 0.2, "least_bytes_per_s": 1024, "closing_timeout_s": 0.05}
        async with attested_scene(tmp_path, image=image, **limits) as here:
            received, ending = await slow_board(here, 2048, 0.01)
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"], ending) == ("sent", len(image), None)
            assert received > len(image)
            assert line["seconds"] > 0.5

    asyncio.run(run())


@pytest.mark.parametrize("image", [signed_image(size=150_000), LARGE], ids=["small", "large"])
def test_a_board_that_stops_reading_is_cut_off(tmp_path: Path, image: bytes) -> None:
    """Whether or not all of it has been written; the connection would be kept otherwise."""

    async def run() -> None:
        async with attested_scene(tmp_path, image=image, idle_timeout_s=0.2) as here:
            ended = threading.Event()

            def work(board: HttpBoard) -> None:
                ask_firmware(board)
                board.socket.recv(1)
                ended.wait(5)

            board = asyncio.create_task(here.talk(work, receive_buffer=A_BOARDS_BUFFER))
            try:
                line = await here.agent.next_session()
            finally:
                ended.set()
            await board
            assert line["outcome"] == "transfer-timeout"

    asyncio.run(run())


def test_a_board_that_stops_reading_before_the_goodbye_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With firmware on its way, and a kernel that takes the last answer and nothing after it: the
    connection would be kept for ever. Which sizes fill it so, a board can find out."""

    def has_no_room(connection: SSL.Connection) -> bool:
        raise SSL.WantWriteError

    monkeypatch.setattr(SSL.Connection, "shutdown", has_no_room)

    async def run() -> None:
        async with attested_scene(
            tmp_path, idle_timeout_s=0.2, send_buffer_bytes=4 * len(IMAGE)
        ) as here:
            ended = threading.Event()

            def work(board: HttpBoard) -> None:
                ask_firmware(board)
                board.send("GET", "/nothing", "Connection: close")
                ended.wait(5)

            board = asyncio.create_task(here.talk(work, receive_buffer=A_BOARDS_BUFFER))
            try:
                line = await here.agent.next_session()
            finally:
                ended.set()
            await board
            assert (line["outcome"], line["bytes"]) == ("bad-request", len(IMAGE))

    asyncio.run(run())


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", ["first", "challenge", "verdict", "half", "firmware"])
def test_a_board_may_leave_at_any_time(
    tmp_path: Path, board_certificate: bytes, when: str, how: str
) -> None:
    def leave(board: HttpBoard) -> None:
        if when == "first":
            board.socket.sendall(b"GET /v2/chal")
        elif when == "challenge":
            board.challenge()
        elif when == "half":
            ask_firmware(board)
            board.socket.recv(100)
        elif when == "firmware":
            assert board.firmware(board.token()).body == LARGE
        else:
            board.token()

    def work(board: Any) -> None:
        leave(HttpBoard(board))
        if how == "reset":
            board.reset()

    async def run() -> None:
        async with (
            attested_scene(tmp_path, image=LARGE) as here,
            here.unharmed(board_certificate),
        ):
            await here.board(work)
            line = await here.agent.next_session()
            if when == "firmware":
                # Whether the last acknowledgement came before the reset, only the board knows.
                assert line["outcome"] == "sent" or how == "reset"
                assert line["bytes"] == len(LARGE)
            elif when == "half":
                assert line["outcome"] in ("connection-lost", "closed-by-board")
            else:
                assert line["outcome"] in ("closed-by-board", "connection-lost")
                assert line["bytes"] == 0

    asyncio.run(run())


# The end of the agent


Stop = Callable[[], None]


async def at_shutdown(here: AttestedScene, work: Callable[[HttpBoard, Stop], Any]) -> Any:
    """work is given how to stop the agent."""

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    return await here.talk(lambda board: work(board, stop))


def test_a_transfer_under_way_is_finished_and_the_connection_then_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, image=LARGE) as here:

            def work(board: HttpBoard, stop: Stop) -> bytes:
                ask_firmware(board)
                head = board.socket.recv(100)
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                stop()
                received = head
                while piece := board.socket.recv(65536):
                    received += piece
                return received.partition(b"\r\n\r\n")[2]

            assert await at_shutdown(here, work) == LARGE
            assert (await here.agent.next_session())["outcome"] == "sent"
            await asyncio.wait_for(here.agent.task, 5)

    asyncio.run(run())


def test_a_board_that_has_its_verdict_still_gets_its_firmware(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard, stop: Stop) -> bytes:
                token = board.token()
                stop()
                found = board.firmware(token)
                assert board.is_closed()
                return found.body

            assert await at_shutdown(here, work) == IMAGE
            await asyncio.wait_for(here.agent.task, 5)

    asyncio.run(run())


@pytest.mark.parametrize("after", ["challenge", "firmware", "up-to-date", "refused"])
def test_a_board_that_waits_for_nothing_does_not_keep_the_agent(tmp_path: Path, after: str) -> None:
    async def run() -> None:
        script = ScriptedServer(attest=verdict(version="2.0.0" if after == "up-to-date" else "1"))
        async with attested_scene(tmp_path, script) as here:

            def work(board: HttpBoard, stop: Stop) -> None:
                if after == "challenge":
                    board.challenge()
                elif after == "refused":
                    assert board.firmware("A" * 43).status == 401
                else:
                    board.firmware(board.token())
                stop()
                assert board.is_closed()

            await at_shutdown(here, work)
            outcomes = {"firmware": "sent", "up-to-date": "up-to-date", "refused": "unauthorized"}
            line = await here.agent.next_session()
            assert line["outcome"] == outcomes.get(after, "closed-by-board")
            await asyncio.wait_for(here.agent.task, 5)

    asyncio.run(run())


def test_a_transfer_that_does_not_end_is_cut_off_at_the_deadline(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, image=LARGE, shutdown_deadline_s=0.1) as here:
            over = threading.Event()

            def work(board: HttpBoard, stop: Stop) -> None:
                ask_firmware(board)
                board.socket.recv(100)
                stop()
                over.wait(5)

            board = asyncio.create_task(at_shutdown(here, work))
            line = await here.agent.next_session()
            over.set()
            await board
            assert line["outcome"] == "cancelled"
            with pytest.raises(UnfinishedError, match="1 transfer"):
                await here.agent.task

    asyncio.run(run())
