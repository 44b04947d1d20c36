"""Redis stops, comes back, hangs and is emptied while requests flow.

An enrolled board is never told that it is not, a board that is not enrolled is never accepted;
what cannot be told is 503, and ends by itself once Redis is back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from dice_auth import redis_connection, redis_index, redis_registry
from dice_auth.enrolment import Enrolment
from dice_auth.errors import RegistryError
from dice_auth.registry_url import open_registry
from tests.dice_auth.asking import Answers, answered, ask, asking, eventually
from tests.dice_auth.boards import board
from tests.dice_auth.faulty_redis import FaultyRedis, faulty_redis
from tests.dice_auth.test_server import Address, running

ENROLLED, STRANGER, LATER = board(1), board(2), board(3)
ANSWER_TIMEOUT_S = 0.3
RECOVERY_S = 1.5

Work = Callable[[Address, Answers, Answers], Awaitable[None]]


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRedis]:
    monkeypatch.setattr(redis_connection, "_ANSWER_TIMEOUT_S", ANSWER_TIMEOUT_S)
    with faulty_redis(tmp_path) as peer:
        yield peer


def under_requests(peer: FaultyRedis, work: Work) -> None:
    """work(address, answers to an enrolled board, answers to a stranger), with both asking."""

    async def run() -> None:
        async with open_registry(peer.url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)
        async with (
            asyncio.timeout(20),
            running(peer.url) as address,
            asking(address, ENROLLED.pem) as enrolled,
            asking(address, STRANGER.pem) as stranger,
        ):
            assert await enrolled.next() == {200}
            assert await stranger.next() == {401}
            await work(address, enrolled, stranger)
        assert set(stranger.statuses) <= {401, 503}
        assert set(enrolled.statuses) <= {200, 401, 503}

    asyncio.run(run())


def test_redis_killed_and_restarted_with_its_data(peer: FaultyRedis) -> None:
    peer.keep_data()

    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        for _ in range(3):
            await asyncio.to_thread(peer.keep_data)
            await asyncio.to_thread(peer.stop)
            assert await enrolled.next(20) == {503}
            assert await stranger.next(20) == {503}
            await asyncio.to_thread(peer.start)
            await answered(address, ENROLLED.pem, 200, RECOVERY_S)
            await answered(address, STRANGER.pem, 401, RECOVERY_S)
        assert 401 not in enrolled.statuses

    under_requests(peer, work)


def test_redis_killed_and_restarted_empty(peer: FaultyRedis) -> None:
    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        await asyncio.to_thread(peer.stop)
        killed = len(enrolled.statuses)
        await enrolled.next()
        await asyncio.to_thread(peer.start)
        await answered(address, STRANGER.pem, 401, RECOVERY_S)
        assert await enrolled.next(5) == {401}
        assert 200 not in enrolled.since(killed + 1)
        peer.submit_like_c(ENROLLED)
        started = time.monotonic()
        while await ask(address, ENROLLED.pem) != 200:
            assert time.monotonic() - started < RECOVERY_S

    under_requests(peer, work)


def test_a_redis_that_hangs_is_503_for_all_who_ask_and_no_queue_grows(peer: FaultyRedis) -> None:
    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        with peer.suspended():
            started = time.monotonic()
            crowd = (ENROLLED if number % 2 else STRANGER for number in range(300))
            statuses = await asyncio.gather(*(ask(address, each.pem) for each in crowd))
            assert set(statuses) == {503}
            # Each try, once more after it, and those who came while another's try was on.
            assert time.monotonic() - started < 4 * ANSWER_TIMEOUT_S + 1
        await answered(address, ENROLLED.pem, 200, RECOVERY_S)
        await answered(address, STRANGER.pem, 401, RECOVERY_S)
        assert 401 not in enrolled.statuses

    under_requests(peer, work)


def test_a_redis_that_hangs_for_a_moment_delays_and_nothing_else(peer: FaultyRedis) -> None:
    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        before = len(enrolled.statuses)
        for _ in range(5):
            with peer.suspended():
                await asyncio.sleep(ANSWER_TIMEOUT_S / 3)  # this long, not until something
            await enrolled.next()
        assert enrolled.since(before) == {200}

    under_requests(peer, work)


@pytest.mark.parametrize("index_is_due_later", [False, True])
def test_our_database_flushed_is_built_again_at_once(
    peer: FaultyRedis, monkeypatch: pytest.MonkeyPatch, index_is_due_later: bool
) -> None:
    if index_is_due_later:  # as over millions of boards, where passes are rare
        monkeypatch.setattr(redis_index, "_PAUSE_S", 60)

    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        for _ in range(3):
            await asyncio.to_thread(peer.run, "FLUSHDB", database=1)
            await answered(address, STRANGER.pem, 401, RECOVERY_S)
            assert await enrolled.next() == {200}
        assert 401 not in enrolled.statuses

    under_requests(peer, work)


def test_their_database_flushed_refuses_at_once_and_takes_back_what_is_written(
    peer: FaultyRedis,
) -> None:
    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        await asyncio.to_thread(peer.run, "FLUSHDB")
        assert await enrolled.next(5) == {401}
        peer.submit_like_c(ENROLLED)

        async def is_back() -> bool:
            return await ask(address, ENROLLED.pem) == 200

        await eventually(is_back, RECOVERY_S)

    under_requests(peer, work)


def test_all_flushed_again_and_again_while_boards_are_written(peer: FaultyRedis) -> None:
    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        for _ in range(10):
            await asyncio.to_thread(peer.run, "FLUSHALL")
            assert await enrolled.next() <= {401, 503}
            await asyncio.to_thread(peer.submit_like_c, LATER)
        peer.submit_like_c(ENROLLED)

        async def is_back() -> bool:
            return {await ask(address, each.pem) for each in (ENROLLED, LATER)} == {200}

        await eventually(is_back, RECOVERY_S)

    under_requests(peer, work)


def test_a_board_deleted_by_hand_is_refused_at_once(peer: FaultyRedis) -> None:
    async def work(address: Address, enrolled: Answers, stranger: Answers) -> None:
        for _ in range(5):
            await asyncio.to_thread(peer.run, "DEL", ENROLLED.board_id)
            assert await enrolled.next(3) == {401}
            async with open_registry(peer.url) as registry:
                await registry.enrol(ENROLLED.board_id, ENROLLED.root)
            assert await enrolled.next(3) == {200}

    under_requests(peer, work)


@pytest.mark.parametrize("loss", ["flushed", "restarted", "a page sent twice"])
def test_a_batch_that_redis_does_not_hold_as_it_was_sent_is_enrolled_not_at_all(
    peer: FaultyRedis, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Boards are collected in Redis, some at a time; the loss comes between two times."""
    monkeypatch.setattr(redis_registry, "_BATCH_PAGE", 2)
    boards = [Enrolment.of(board(number).board_id, board(number).root) for number in range(1, 7)]

    def lose(count: int) -> None:
        if count != 2:
            return
        if loss == "flushed":
            peer.run("FLUSHDB", database=1)
        elif loss == "restarted":
            peer.stop()
            peer.start()
        else:
            # Not answered in time, so sent once more, and in the end both arrive.
            suspended = peer.suspended()
            suspended.__enter__()
            asyncio.get_running_loop().call_later(
                1.5 * ANSWER_TIMEOUT_S, suspended.__exit__, None, None, None
            )

    async def run() -> None:
        async with open_registry(peer.url) as registry:
            with pytest.raises(RegistryError, match="nothing is enrolled") as raised:
                await registry.enrol_all(boards, progress=lose)
            assert "\n" not in str(raised.value)
            assert peer.run("KEYS", "*") == []
            assert await registry.enrol_all(boards) == len(boards)

    asyncio.run(run())
