"""Bandwidth limits: never more than is allowed, and something for everybody."""

import asyncio
import heapq
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent.pacing import Pace, Pacer
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE
from tests.ota_agent.scene import scene

TURN_BYTES = 16 * 1024
REQUESTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 10**6), st.floats(0, 0.5)), min_size=1, max_size=80
)


@given(st.integers(1024, 10**7), REQUESTS)
def test_never_more_than_the_bandwidth_is_granted(
    rate: int, requests: list[tuple[int, int, float]]
) -> None:
    """By the time any bytes may go, no more than the rate allows and one turn has been granted,
    counted from any moment before; and each grant waits for those before it only."""
    shared = Pace(rate)
    boards = [Pacer((shared,)) for _ in range(5)]
    now, last = 0.0, 0.0
    granted: list[tuple[float, int]] = []
    for board, wanted, pause in requests:
        now += pause
        count, start = boards[board].reserve(wanted, now)
        assert 0 < count <= min(wanted, TURN_BYTES)
        assert start >= max(now, last)
        last = start
        granted.append((start, count))
    for first, (since, _) in enumerate(granted):
        total = 0
        for until, count in granted[first:]:
            total += count
            assert total <= (until - since) * rate * (1 + 1e-9) + TURN_BYTES


@given(st.integers(1024, 10**6), st.integers(1024, 10**6), REQUESTS)
def test_a_boards_own_limit_holds_beside_the_one_for_all(
    rate: int, own: int, requests: list[tuple[int, int, float]]
) -> None:
    shared = Pace(rate)
    boards = [Pacer((shared, Pace(own))) for _ in range(5)]
    now = 0.0
    granted: list[tuple[float, int, int]] = []
    for board, wanted, pause in requests:
        now += pause
        count, start = boards[board].reserve(wanted, now)
        assert start >= now
        granted.append((start, count, board))
    for until, _, _ in granted:
        by_then = [(count, board) for start, count, board in granted if start <= until]
        assert sum(count for count, _ in by_then) <= until * rate * (1 + 1e-9) + TURN_BYTES
        for each in range(5):
            of_board = sum(count for count, board in by_then if board == each)
            assert of_board <= until * own * (1 + 1e-9) + TURN_BYTES


@given(st.integers(1024, 10**6), st.integers(1, 30), st.integers(0, 10))
def test_nobody_is_starved(rate: int, boards: int, newcomers: int) -> None:
    """Each comes back as soon as it has had its turn, and some come later: all get the same, and
    nobody waits longer than it takes to serve everybody else once."""
    shared = Pace(rate)
    pacers = [Pacer((shared,)) for _ in range(boards)]
    waiting = [(0.0, board, 0.0) for board in range(boards)]
    turns: dict[int, int] = {}
    for step in range(30 * (boards + newcomers)):
        if step == 10 * boards:
            now = waiting[0][0]
            for _ in range(newcomers):
                heapq.heappush(waiting, (now, len(pacers), now))
                pacers.append(Pacer((shared,)))
            turns.clear()
        now, board, asked = heapq.heappop(waiting)
        count, start = pacers[board].reserve(10**6, now)
        turns[board] = turns.get(board, 0) + 1
        # What was granted before the newcomers came was granted in larger turns.
        longest = max(0.5 if boards == 1 else 1.0, len(pacers) * 512 / rate) + TURN_BYTES / rate
        assert start - asked <= longest
        assert count >= min(512, TURN_BYTES)
        heapq.heappush(waiting, (start, board, start))
    assert len(turns) == len(pacers)
    assert max(turns.values()) - min(turns.values()) <= 2


def test_turns_are_short_while_there_are_many_and_longer_again_when_they_have_gone() -> None:
    shared = Pace(10_000)
    boards = [Pacer((shared,)) for _ in range(10)]
    starts = [board.reserve(10**6, 0.0) for board in boards]
    assert max(start for _, start in starts) < 1
    for board in boards[1:]:
        board.end()
    assert boards[0].reserve(10**6, 9.0)[0] == 5000


@pytest.mark.parametrize("limit", ["bandwidth", "board_bandwidth"])
def test_with_a_bandwidth_limit_the_image_arrives_whole_and_no_faster(
    tmp_path: Path, board_certificate: bytes, limit: str
) -> None:
    """And a board that has taken all it was given is not called slow."""
    limits = {limit: 100_000, "idle_timeout_s": 0.4, "least_bytes_per_s": 10**9}

    async def run() -> None:
        async with scene(tmp_path, **limits) as here:
            assert await here.update(board_certificate) == IMAGE
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == ("sent", len(IMAGE))
            assert line["seconds"] > (len(IMAGE) - TURN_BYTES) / 100_000 * 0.9

    asyncio.run(run())


def test_boards_share_the_bandwidth_and_all_get_the_whole_image(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        image = signed_image(size=20_000)
        async with scene(tmp_path, image=image, bandwidth=200_000) as here:
            received = await asyncio.gather(*(here.update(board_certificate) for _ in range(5)))
            assert received == [image] * 5
            lines = [await here.agent.next_session() for _ in range(5)]
            assert {line["outcome"] for line in lines} == {"sent"}
            assert max(line["seconds"] for line in lines) > 4 * len(image) / 200_000 * 0.9

    asyncio.run(run())


def test_a_board_that_never_reads_takes_no_bandwidth_from_the_others(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """Nor does one that has gone: what was kept for it is a turn at most."""

    async def run() -> None:
        image = signed_image(size=300_000)
        limits = {"bandwidth": 1_000_000, "send_buffer_bytes": 4096, "image": image}
        async with scene(tmp_path, **limits) as here:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()

            def stuck(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                board.socket.recv(1)
                asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(10)

            others = [asyncio.create_task(here.board(stuck, receive_buffer=4096)) for _ in range(3)]
            assert await here.update(board_certificate) == image
            line = await here.agent.next_session()
            # Alone it takes 0.3 s; shared with three that take nothing, little more.
            assert line["seconds"] < 1.1
            ended.set()
            await asyncio.gather(*others)

    asyncio.run(run())


def test_a_board_whose_turns_come_more_seldom_than_it_is_judged_is_not_called_dead(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """As with a thousand boards and a low limit: a turn each minute, judged each half minute. What
    it was just given is still on its way when it is judged, and has been asked of it only now."""

    async def run() -> None:
        # A turn of 512 bytes each half second, judged at each look at the deadlines.
        limits = {"board_bandwidth": 1024, "idle_timeout_s": 0.05}
        async with scene(tmp_path, **limits) as here:

            def work(board: BoardPeer) -> int:
                board.socket.sendall(board_certificate)
                received = 0
                while received < 2048:
                    received += len(board.socket.recv(2048))
                return received

            assert await here.board(work) >= 2048

    asyncio.run(run())
