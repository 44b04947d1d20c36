"""How the agent ends: who is waited for, how long, and what it says about it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ota_agent.errors import UnfinishedError
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE
from tests.ota_agent.scene import Scene, scene

LARGE = signed_image(size=6_000_000)
COMMAND = str(Path(sys.executable).parent / "ota-service")


def stop(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


class Board:
    """A board in a thread that receives a byte, then waits, then reads the rest."""

    def __init__(self, here: Scene, presented: bytes) -> None:
        self.received = asyncio.Event()
        self.reads_on = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._presented = presented
        self._task = asyncio.create_task(here.board(self._work))

    def _work(self, board: BoardPeer) -> bytes | OSError:
        board.socket.sendall(self._presented)
        try:
            first = board.socket.recv(1)
            self._loop.call_soon_threadsafe(self.received.set)
            assert self.reads_on.wait(10)
            return first + board.read_all()
        except OSError as error:
            return error

    async def rest(self) -> bytes | OSError:
        """What it has received in the end."""
        self.reads_on.set()
        return await self._task


def test_a_shutdown_waits_for_a_running_transfer_and_for_nothing_else(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """Not for clients that have not said who they are; and nobody is let in any more."""

    async def run() -> None:
        async with scene(tmp_path, image=LARGE) as here:
            board = Board(here, board_certificate)
            await board.received.wait()
            with here.connect():
                silent = await here.thread(lambda: BoardPeer(here.agent.address, here.context))
                stop()
                for _ in range(2):
                    line = await here.agent.next_session()
                    assert (line["outcome"], line["bytes"]) == ("cancelled", 0)
                silent.socket.close()
            line = await here.agent.next_event()
            assert (line["event"], line["sessions"]) == ("finishing", 1)
            with pytest.raises(ConnectionRefusedError):
                here.connect()
            assert await board.rest() == LARGE
            assert (await here.agent.next_session())["outcome"] == "sent"
            await here.agent.task

    asyncio.run(run())


def test_a_shutdown_waits_for_a_board_that_is_being_attested(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path) as here:
            here.attestation.gate = asyncio.Event()
            board = asyncio.create_task(here.update(board_certificate))
            await here.attestation.asked.wait()
            stop()
            assert (await here.agent.next_event())["event"] == "finishing"
            here.attestation.gate.set()
            assert await board == IMAGE
            await here.agent.task

    asyncio.run(run())


def at_its_deadline(here: Scene) -> None:
    stop()


def at_a_second_signal(here: Scene) -> None:
    stop(signal.SIGINT)
    asyncio.get_running_loop().call_soon(stop)


@pytest.mark.parametrize(
    ("end", "deadline_s"), [(at_its_deadline, 0.2), (at_a_second_signal, 30.0)]
)
def test_a_shutdown_that_cuts_transfers_off_says_so(
    tmp_path: Path, board_certificate: bytes, end: Callable[[Scene], None], deadline_s: float
) -> None:
    """In the log, in its exit, and to the boards: these get no close_notify."""

    async def run() -> None:
        async with scene(tmp_path, image=LARGE, shutdown_deadline_s=deadline_s) as here:
            boards = [Board(here, board_certificate) for _ in range(2)]
            for board in boards:
                await board.received.wait()
            end(here)
            for _ in boards:
                assert (await here.agent.next_session())["outcome"] == "cancelled"
            for board in boards:
                assert isinstance(await board.rest(), OSError)
            with pytest.raises(UnfinishedError, match=r"^2 transfers were cut off at shutdown$"):
                await here.agent.task

    asyncio.run(run())


def test_a_board_that_has_everything_is_not_one_that_was_cut_off(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """It has only not closed yet: it is busy writing its flash."""
    limits = {"closing_timeout_s": 30.0, "shutdown_deadline_s": 0.3}

    async def run() -> None:
        async with scene(tmp_path, **limits) as here:
            has_all, ended = asyncio.Event(), threading.Event()
            loop = asyncio.get_running_loop()

            def work(board: BoardPeer) -> bytes:
                board.socket.sendall(board_certificate)
                image = board.read_all()
                loop.call_soon_threadsafe(has_all.set)
                assert ended.wait(10)
                return image

            board = asyncio.create_task(here.board(work))
            await has_all.wait()
            stop()
            try:
                line = await here.agent.next_session()
            finally:
                ended.set()
            assert await board == IMAGE
            assert (line["outcome"], line["bytes"]) == ("sent", len(IMAGE))
            await here.agent.task

    asyncio.run(run())


def test_a_refused_board_that_does_not_close_is_no_transfer_that_was_cut_off(
    tmp_path: Path, board_certificate: bytes
) -> None:
    limits = {"closing_timeout_s": 30.0, "shutdown_deadline_s": 0.3}

    async def run() -> None:
        async with scene(
            tmp_path, b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n", **limits
        ) as here:
            refused, ended = asyncio.Event(), threading.Event()
            loop = asyncio.get_running_loop()

            def work(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                assert board.read_all() == b""
                loop.call_soon_threadsafe(refused.set)
                assert ended.wait(10)

            board = asyncio.create_task(here.board(work))
            await refused.wait()
            stop()
            try:
                line = await here.agent.next_session()
            finally:
                ended.set()
            await board
            assert line["outcome"] == "refused"
            await here.agent.task

    asyncio.run(run())


def test_an_idle_agent_ends_at_once_and_without_complaint(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as here:
            stop()
            await asyncio.wait_for(here.agent.task, 2)
            assert here.agent.events_so_far() == []

    asyncio.run(run())


@pytest.mark.parametrize(("reads", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_tells_whether_every_board_got_its_image(
    tmp_path: Path, board_certificate: bytes, reads: bool, code: int
) -> None:
    """A process of its own, as it is run; the attestation server is that of a scene beside it."""

    async def run() -> None:
        async with scene(tmp_path, image=LARGE) as here:
            arguments: list[Any] = [
                "agent", "--firmware", tmp_path / "firmware.bin", "--cert", here.ca,
                "--key", here.ca.with_name("key.pem"), "--dice-auth-url", here.attestation.url,
                "--listen", "127.0.0.1:0", "--shutdown-deadline", "10" if reads else "0.3",
            ]  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                COMMAND, *map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdout is not None
            ready = (await process.stdout.readline()).decode().split()[-1]
            here.agent.address = ("127.0.0.1", int(ready.rpartition(":")[2]))
            board = Board(here, board_certificate)
            await board.received.wait()
            process.terminate()
            if reads:
                assert await board.rest() == LARGE
            _, errors = await process.communicate()
            assert process.returncode == code
            assert b"Traceback" not in errors
            assert (b"ota-service: 1 transfer was cut off" in errors) == (not reads)
            if not reads:
                assert isinstance(await board.rest(), OSError)

    asyncio.run(run())
