"""A verdict costs what it costs, however many boards are enrolled."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest

from dice_auth.registry_url import open_registry
from dice_auth.verdict_queue import VerdictQueue
from tests.dice_auth.boards import board
from tests.dice_auth.redis_peer import RedisPeer

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FEW, MANY = 2, 250


async def enrol(url: str, boards: int) -> None:
    async with open_registry(url) as registry:
        for each in map(board, range(boards)):
            await registry.enrol(each.board_id, each.root)


async def verdict(url: str) -> None:
    async with open_registry(url) as registry:
        assert (await VerdictQueue(registry).verify(board(1).pem.encode(), NOW)).accepted


def test_sqlite_takes_as_many_steps_among_many_boards_as_among_few(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def counted() -> int:
        nonlocal steps
        steps += 1
        return 0

    connect = sqlite3.connect

    def connect_counting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_progress_handler(counted, 1)
        return connection

    async def cost(boards: int) -> int:
        nonlocal steps
        await enrol(sqlite_url, boards)
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", connect_counting)
            steps = 0
            await verdict(sqlite_url)
        return steps

    few, many = asyncio.run(cost(FEW)), asyncio.run(cost(MANY))
    assert few > 0
    assert many == few


def test_redis_is_asked_as_little_among_many_boards_as_among_few(redis_peer: RedisPeer) -> None:
    def figures() -> tuple[int, int]:
        stats: Any = redis_peer.run("INFO", "stats")
        return stats["total_commands_processed"], stats["total_net_output_bytes"]

    async def cost(boards: int) -> tuple[int, int]:
        await enrol(redis_peer.url, boards)
        before = figures()
        figures()  # what looking costs is in both
        await verdict(redis_peer.url)
        after = figures()
        return after[0] - before[0], after[1] - before[1]

    few, many = asyncio.run(cost(FEW)), asyncio.run(cost(MANY))
    assert many[0] <= few[0]
    assert many[1] <= few[1] + 200  # the figures themselves have a digit more
