"""What is seen of boards reaches the registry, late but surely, and delays no answer."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from dice_auth import observations, sqlite_registry
from dice_auth.observations import Observations
from dice_auth.registry import BoardRecord, Observation
from dice_auth.registry_url import open_registry
from dice_auth.sqlite_registry import SqliteRegistry
from dice_auth.verification import Verdict
from tests.dice_auth.asking import ask, eventually
from tests.dice_auth.boards import Board, board
from tests.dice_auth.redis_peer import RedisPeer
from tests.dice_auth.test_server import exchange, running

FIRST, SECOND, STRANGER = board(1), board(2), board(3)


async def enrol(url: str, *boards: Board) -> None:
    async with open_registry(url) as registry:
        for each in boards:
            await registry.enrol(each.board_id, each.root)


async def record_of(url: str, each: Board) -> BoardRecord:
    async with open_registry(url) as registry:
        record = await registry.get(each.board_id)
    assert record is not None
    return record


def failures(caplog: pytest.LogCaptureFixture) -> int:
    lines = [json.loads(each.getMessage()) for each in caplog.records if each.name == "dice_auth"]
    return len([line for line in lines if line["event"] == "observations-not-written"])


def test_verdicts_arrive_in_the_registry_after_the_interval(
    registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observations, "WRITE_EVERY_S", 0.05)

    async def run() -> None:
        await enrol(registry_url, FIRST, SECOND)
        async with asyncio.timeout(20), running(registry_url) as address:
            before = int(time.time())

            async def verdict_is(each: Board, text: str) -> None:
                async def is_so() -> bool:
                    return (await record_of(registry_url, each)).last_verdict == text

                await eventually(is_so, 1)

            assert await ask(address, FIRST.pem) == 200
            assert await ask(address, STRANGER.pem) == 401
            assert await ask(address, SECOND.root_pem) == 401
            await verdict_is(FIRST, "accepted")
            await verdict_is(SECOND, "refused: is-root")
            first = await record_of(registry_url, FIRST)
            assert first.first_seen is not None and first.last_seen is not None
            assert before <= first.first_seen <= first.last_seen <= time.time()
            second = await record_of(registry_url, SECOND)
            assert (second.first_seen, second.last_seen) == (None, None)

            assert await ask(address, FIRST.root_pem) == 401
            await verdict_is(FIRST, "refused: is-root")
            later = await record_of(registry_url, FIRST)
            assert (later.first_seen, later.last_seen) == (first.first_seen, first.last_seen)

    asyncio.run(run())


def test_what_was_not_written_yet_is_written_at_the_end(registry_url: str) -> None:
    async def run() -> None:
        await enrol(registry_url, FIRST)
        async with running(registry_url) as address:
            assert await ask(address, FIRST.pem) == 200
            assert (await record_of(registry_url, FIRST)).last_verdict is None
        assert (await record_of(registry_url, FIRST)).last_verdict == "accepted"

    asyncio.run(run())


def test_a_board_removed_meanwhile_is_passed_over(
    registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        await enrol(registry_url, FIRST, SECOND)
        async with running(registry_url) as address:
            assert await ask(address, FIRST.pem) == 200
            assert await ask(address, SECOND.pem) == 200
            async with open_registry(registry_url) as registry:
                await registry.remove(FIRST.board_id)
        assert (await record_of(registry_url, SECOND)).last_verdict == "accepted"
        await enrol(registry_url, FIRST)
        assert (await record_of(registry_url, FIRST)).last_verdict is None

    asyncio.run(run())


def test_a_registry_that_cannot_be_written_delays_no_answer_and_gets_all_later(
    registry_url: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "dice_auth")
    monkeypatch.setattr(observations, "WRITE_EVERY_S", 0.02)
    monkeypatch.setattr(sqlite_registry, "_WRITE_BUSY_S", 0.2)

    async def run() -> None:
        await enrol(registry_url, FIRST, SECOND)
        async with asyncio.timeout(20), running(registry_url) as address:
            make_writable = make_unwritable(registry_url, request)
            slowest_s = 0.0
            asked = 0
            while failures(caplog) == 0 or asked < 100:
                started = time.monotonic()
                assert await ask(address, (FIRST, SECOND)[asked % 2].pem) == 200
                slowest_s = max(slowest_s, time.monotonic() - started)
                asked += 1
            assert slowest_s < 0.15  # less than a write waits for
            assert (await record_of(registry_url, FIRST)).last_verdict is None
            make_writable()

            async def is_written() -> bool:
                records = [await record_of(registry_url, each) for each in (FIRST, SECOND)]
                return all(record.last_verdict == "accepted" for record in records)

            await eventually(is_written, 1)
        assert failures(caplog) == 1

    asyncio.run(run())


def make_unwritable(url: str, request: pytest.FixtureRequest) -> Callable[[], None]:
    """What makes it writable again."""
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection.close
    peer: RedisPeer = request.getfixturevalue("redis_peer")
    # As a primary without its replicas: it answers and takes nothing.
    peer.run("CONFIG", "SET", "min-replicas-to-write", "1")

    def make_writable() -> None:
        peer.run("CONFIG", "SET", "min-replicas-to-write", "0")

    request.addfinalizer(make_writable)
    return make_writable


def test_more_boards_than_may_wait_are_left_out_and_counted(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observations, "_MOST_BOARDS", 3)
    boards = [board(number) for number in range(1, 6)]

    async def run() -> None:
        await enrol(sqlite_url, *boards)
        async with running(sqlite_url) as address:
            for _ in range(2):
                for each in boards:
                    assert await ask(address, each.pem) == 200
            metrics = await exchange(address, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"\ndice_auth_observations_dropped_total 4.0\n" in metrics[3]
        verdicts = [(await record_of(sqlite_url, each)).last_verdict for each in boards]
        assert verdicts == ["accepted"] * 3 + [None] * 2

    asyncio.run(run())


def test_what_was_being_written_when_the_server_was_told_to_end_is_written(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write under way is given up at the end; the last write has it again."""
    monkeypatch.setattr(observations, "WRITE_EVERY_S", 0)
    path = Path(sqlite_url.removeprefix("sqlite:///"))

    class Stuck(SqliteRegistry):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.began = asyncio.Event()

        async def record(self, observations: Iterable[Observation]) -> None:
            if not self.began.is_set():
                self.began.set()
                await asyncio.Event().wait()
            await super().record(observations)

    async def run() -> None:
        await enrol(sqlite_url, FIRST)
        async with Stuck(path) as registry:
            seen = Observations(registry, lambda count: None)
            seen.note(Verdict(FIRST.board_id, ()), 1)
            writing = asyncio.create_task(seen.write_regularly())
            await registry.began.wait()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await seen.write()
        assert (await record_of(sqlite_url, FIRST)).last_seen == 1

    asyncio.run(run())


def test_observations_of_a_damaged_table_are_no_end_of_the_server(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")
    monkeypatch.setattr(observations, "WRITE_EVERY_S", 0.02)

    async def run() -> None:
        await enrol(sqlite_url, FIRST)
        async with asyncio.timeout(20), running(sqlite_url) as address:
            with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
                connection.execute("ALTER TABLE observations RENAME TO away")
            while failures(caplog) == 0:
                assert await ask(address, FIRST.pem) == 200
            with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
                connection.execute("ALTER TABLE away RENAME TO observations")

            async def is_written() -> bool:
                return (await record_of(sqlite_url, FIRST)).last_verdict == "accepted"

            await eventually(is_written, 1)

    asyncio.run(run())
