"""Boards that take the image slowly: those below the minimum rate are cut off, others are not,
and each gets all of it that it was given."""

import asyncio
import threading
from pathlib import Path

import pytest

from ota_agent.errors import PeerError
from ota_agent.firmware import Trust, load_firmware
from ota_agent.pacing import Pace, Pacer
from ota_agent.transfer import Progress, Transfer
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Scene, scene

pytestmark = pytest.mark.usefixtures("quick_deadlines")
# More than the kernel holds of it for a board, and much less.
LARGE = signed_image(size=6_000_000)
SMALL = signed_image(size=150_000)
A_BOARDS_BUFFER = 4096


async def slow_board(
    here: Scene, presented: bytes, piece_bytes: int, pause_s: float, most_bytes: int | None = None
) -> tuple[int, BaseException | None]:
    """A board that reads so much at a time, then pauses; until it has read so many bytes, then
    it reads on at full speed. What it got, and how it ended (None: with close_notify)."""
    over = threading.Event()

    def work(board: BoardPeer) -> tuple[int, BaseException | None]:
        board.socket.sendall(presented)
        received = 0
        try:
            while piece := board.socket.recv(piece_bytes):
                received += len(piece)
                if most_bytes is None or received < most_bytes:
                    over.wait(pause_s)
        except OSError as error:
            return received, error
        return received, None

    try:
        return await here.board(work, receive_buffer=A_BOARDS_BUFFER)
    finally:
        over.set()


def test_a_board_below_the_minimum_rate_is_cut_off(
    tmp_path: Path, board_certificate: bytes
) -> None:
    limits = {"idle_timeout_s": 0.3, "least_bytes_per_s": 10**9, "send_buffer_bytes": 65536}

    async def run() -> None:
        async with scene(tmp_path, image=LARGE, **limits) as here:
            received, ending = await slow_board(here, board_certificate, 2048, 0.01)
            line = await here.agent.next_session()
            assert line["outcome"] == "too-slow"
            assert "bytes a second" in line["reason"]
            assert ending is not None
            assert 0 < received < line["bytes"] < len(LARGE)

    asyncio.run(run())


def test_a_board_below_the_minimum_rate_is_cut_off_even_if_the_kernel_holds_the_rest_for_it(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """Else one that takes a segment each half minute would be kept for hours, and a megabyte of
    kernel memory with it; a crowd of these takes all places."""
    limits = {"idle_timeout_s": 0.3, "least_bytes_per_s": 10**9}

    async def run() -> None:
        async with scene(tmp_path, image=SMALL, **limits) as here:
            received, ending = await slow_board(here, board_certificate, 1024, 0.01)
            line = await here.agent.next_session()
            assert line["outcome"] == "too-slow"
            assert ending is not None
            assert received < len(SMALL)

    asyncio.run(run())


@pytest.mark.parametrize("send_buffer_bytes", [None, 4096, 65536])
def test_a_slow_board_above_the_minimum_rate_gets_the_whole_image(
    tmp_path: Path, board_certificate: bytes, send_buffer_bytes: int | None
) -> None:
    """However long it takes: several times the idle timeout, and the closing timeout too."""
    limits = {
        "idle_timeout_s": 0.2, "least_bytes_per_s": 1024, "closing_timeout_s": 0.05,
        "send_buffer_bytes": send_buffer_bytes,
    }  # fmt: skip

    async def run() -> None:
        async with (
            scene(tmp_path, image=SMALL, **limits) as here,
            here.unharmed(board_certificate),
        ):
            received, ending = await slow_board(here, board_certificate, 2048, 0.01)
            line = await here.agent.next_session()
            assert ending is None
            assert received == len(SMALL)
            assert (line["outcome"], line["bytes"]) == ("sent", len(SMALL))
            assert line["seconds"] > 0.6

    asyncio.run(run())


@pytest.mark.parametrize("image", [SMALL, LARGE], ids=["small", "large"])
def test_a_board_that_stops_is_cut_off_whether_or_not_all_has_been_written(
    tmp_path: Path, board_certificate: bytes, image: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=image, idle_timeout_s=0.2) as here:
            ended = threading.Event()

            def work(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                board.socket.recv(1)
                ended.wait(5)
                with pytest.raises(OSError):  # noqa: PT011
                    board.read_all()

            board = asyncio.create_task(here.board(work, receive_buffer=A_BOARDS_BUFFER))
            try:
                line = await here.agent.next_session()
            finally:
                ended.set()
            await board
            assert line["outcome"] == "transfer-timeout"
            assert "nothing taken for 0.2 s" in line["reason"]
            assert (line["bytes"] == len(SMALL)) == (image is SMALL)

    asyncio.run(run())


def test_a_board_that_was_slow_and_then_is_fast_gets_the_rest(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """Past the first second the kernel is asked to hold less for it."""

    async def run() -> None:
        async with scene(tmp_path, image=LARGE, idle_timeout_s=0.5) as here:
            received, ending = await slow_board(here, board_certificate, 1024, 0.02, 70_000)
            assert ending is None
            assert received == len(LARGE)
            line = await here.agent.next_session()
            assert line["outcome"] == "sent"
            assert line["seconds"] > 1

    asyncio.run(run())


class Kernel:
    """In place of a connection: takes everything, and has sent what a test says."""

    def __init__(self) -> None:
        self.sent = 0
        self.unacknowledged = 0

    def send(self, piece: memoryview) -> int:
        self.sent += len(piece)
        self.unacknowledged += len(piece)
        return len(piece)

    def acknowledged_bytes(self) -> int:
        return self.sent - self.unacknowledged

    def given_bytes(self) -> int:
        return self.sent

    def unacknowledged_bytes(self) -> int:
        return self.unacknowledged


def paced(folder: Path, kernel: Kernel, bytes_per_s: int) -> Transfer:
    file = folder / "firmware.bin"
    file.write_bytes(LARGE)
    pacer = Pacer((Pace(bytes_per_s),))
    return Transfer(kernel, load_firmware(file, Trust()), pacer, 0.0)  # type: ignore[arg-type]


def send_for(transfer: Transfer, seconds: int, now: float) -> None:
    """All that the limit allows in this time."""
    for tick in range(seconds * 100):
        while transfer.go_on(now + tick / 100) is not Progress.LATER:
            continue


def test_a_board_that_keeps_up_with_a_bandwidth_limit_is_not_slow_whatever_the_minimum(
    tmp_path: Path,
) -> None:
    """For it little is under way at any time. One for which more lies there is slow, and one that
    takes nothing is gone."""
    kernel = Kernel()
    transfer = paced(tmp_path, kernel, 100_000)
    for now in range(4):
        send_for(transfer, 1, now)
        kernel.unacknowledged = 16 * 1024
        transfer.judge(1.0, 10**9)
    send_for(transfer, 3, 4)
    kernel.unacknowledged = 100_000
    with pytest.raises(PeerError) as raised:
        transfer.judge(1.0, 10**9)
    assert raised.value.outcome == "too-slow"
    with pytest.raises(PeerError) as raised:
        transfer.judge(1.0, 0)
    assert raised.value.outcome == "transfer-timeout"


def test_a_board_is_not_judged_by_what_it_was_given_only_now(tmp_path: Path) -> None:
    """With a turn each minute, judged each half minute: the last turn is still under way when it
    is judged. Only what lay there the time before as well has been left lying."""
    kernel = Kernel()
    transfer = paced(tmp_path, kernel, 1024)
    for now in range(4):
        send_for(transfer, 1, now)
        transfer.judge(0.5, 512)
        kernel.unacknowledged = 0
        transfer.judge(0.5, 512)
    send_for(transfer, 1, 9)
    transfer.judge(0.5, 512)
    with pytest.raises(PeerError) as raised:
        transfer.judge(0.5, 512)
    assert raised.value.outcome == "transfer-timeout"
