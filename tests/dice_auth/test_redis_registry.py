"""The originals' layout, shared with the originals' tools."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dice_auth.errors import RegistryError
from dice_auth.redis_registry import RedisRegistry
from tests.dice_auth.boards import Board, board
from tests.dice_auth.following import followed
from tests.dice_auth.redis_peer import RedisPeer

FIRST, SECOND = board(1), board(2)


def submit_like_c(peer: RedisPeer, each: Board, board_id: str | None = None) -> None:
    peer.run("HSET", board_id or each.board_id, "root_cert", each.root_pem)


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0)


def test_an_enrolled_board_looks_like_one_of_the_c_submit(redis_peer: RedisPeer) -> None:
    async def run() -> None:
        async with RedisRegistry("127.0.0.1", redis_peer.port) as registry:
            await registry.enrol("AA:bb:cc:dd:ee:ff", FIRST.root)
            await registry.enrol(SECOND.board_id, SECOND.root)
            await registry.remove(SECOND.board_id)

    asyncio.run(run())
    assert redis_peer.run("KEYS", "*") == [b"AA:bb:cc:dd:ee:ff"]
    assert redis_peer.run("HGETALL", "AA:bb:cc:dd:ee:ff") == {b"root_cert": FIRST.root_pem.encode()}


def test_what_the_c_submit_wrote_before_the_start_is_found(redis_peer: RedisPeer) -> None:
    submit_like_c(redis_peer, FIRST)

    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            record = await registry.root_by_key_id(FIRST.key_id)
            assert record is not None
            assert record.board_id == FIRST.board_id
            assert record.root == FIRST.root

    asyncio.run(run())
    assert redis_peer.run("KEYS", "*") == [FIRST.board_id.encode()]


def test_what_the_c_submit_writes_later_is_found_within_a_second(redis_peer: RedisPeer) -> None:
    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            assert await registry.root_by_key_id(FIRST.key_id) is None
            submit_like_c(redis_peer, FIRST)

            async def found() -> bool:
                return await registry.root_by_key_id(FIRST.key_id) is not None

            await eventually(found, within_s=1)

    asyncio.run(run())


def test_what_the_c_del_deletes_is_gone_at_once(redis_peer: RedisPeer) -> None:
    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            await registry.enrol(FIRST.board_id, FIRST.root)
            redis_peer.run("DEL", FIRST.board_id)
            assert await registry.root_by_key_id(FIRST.key_id) is None

    asyncio.run(run())


def test_the_index_forgets_what_the_c_del_deleted(redis_peer: RedisPeer) -> None:
    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            await registry.enrol(FIRST.board_id, FIRST.root)
            redis_peer.run("DEL", FIRST.board_id)

            async def forgotten() -> bool:
                return not redis_peer.run(
                    "HEXISTS", "dice-auth:indexed", FIRST.board_id, database=1
                )

            await eventually(forgotten, within_s=2)

    asyncio.run(run())


def test_a_root_replaced_by_hand_no_longer_finds_the_board(redis_peer: RedisPeer) -> None:
    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            await registry.enrol("door", FIRST.root)
            submit_like_c(redis_peer, SECOND, "door")
            assert await registry.root_by_key_id(FIRST.key_id) is None

            async def found() -> bool:
                return await registry.root_by_key_id(SECOND.key_id) is not None

            await eventually(found, within_s=2)

    asyncio.run(run())


def test_one_root_under_two_ids_of_the_c_submit_outlives_one_of_them(redis_peer: RedisPeer) -> None:
    submit_like_c(redis_peer, FIRST, "aa")
    submit_like_c(redis_peer, FIRST, "AA")

    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            await registry.remove("AA")
            record = await registry.root_by_key_id(FIRST.key_id)
            assert record is not None
            assert record.board_id == "aa"

    asyncio.run(run())


def test_a_flushed_index_is_built_again_and_meanwhile_nobody_is_called_a_stranger(
    redis_peer: RedisPeer,
) -> None:
    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            await registry.enrol(FIRST.board_id, FIRST.root)
            redis_peer.run("FLUSHDB", database=1)
            answers = []

            async def found() -> bool:
                try:
                    answers.append(await registry.root_by_key_id(FIRST.key_id))
                except RegistryError:
                    return False
                return True

            await eventually(found, within_s=2)
            assert answers[0] is not None

    asyncio.run(run())


def test_other_keys_in_the_database_disturb_nothing(redis_peer: RedisPeer) -> None:
    redis_peer.run("SET", "a string", "1")
    redis_peer.run("SET", b"\xff\xfe", "1")
    redis_peer.run("HSET", "a hash", "colour", "red")
    redis_peer.run("HSET", "no certificate", "root_cert", "hello")
    redis_peer.run("HSET", b"\xff\xfe\xfd", "root_cert", "hello")
    submit_like_c(redis_peer, FIRST)

    async def run() -> None:
        async with followed(redis_peer.url) as registry:
            assert [record.board_id async for record in registry.boards()] == [FIRST.board_id]
            assert await registry.get("a string") is None
            assert await registry.get("a hash") is None
            assert await registry.get("no certificate") is None
            assert await registry.root_by_key_id(FIRST.key_id) is not None

    asyncio.run(run())


def test_an_unreachable_redis_is_a_one_line_error_and_its_return_is_noticed(
    tmp_path: Path,
) -> None:
    peer = RedisPeer(tmp_path)
    peer.start()

    async def run() -> None:
        async with RedisRegistry("127.0.0.1", peer.port) as registry:
            await registry.enrol(FIRST.board_id, FIRST.root)
            peer.stop()
            for operation in (
                registry.get("x"),
                registry.root_by_key_id(b"x"),
                registry.enrol(SECOND.board_id, SECOND.root),
                registry.remove("x"),
                registry.check(),
            ):
                with pytest.raises(RegistryError, match=f"127.0.0.1:{peer.port}") as raised:
                    await operation
                assert "\n" not in str(raised.value)
            peer.start()
            await registry.check()
            assert await registry.get(FIRST.board_id) is None

    try:
        asyncio.run(run())
    finally:
        peer.stop()


def test_a_redis_that_accepts_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dice_auth.redis_connection._ANSWER_TIMEOUT_S", 0.1)

    async def run() -> None:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            started = time.monotonic()
            async with RedisRegistry("127.0.0.1", port) as registry:
                with pytest.raises(RegistryError):
                    await registry.root_by_key_id(FIRST.key_id)
            assert time.monotonic() - started < 2

    asyncio.run(run())
