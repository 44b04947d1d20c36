"""So many connections of the attestation client and no more, and no slot is ever lost."""

import asyncio
import socket
from typing import Any

import pytest

from ota_agent.http_pool import HttpPool
from tests.ota_agent.http_answers import OK
from tests.ota_agent.http_peer import (
    Asked,
    Link,
    Peer,
    full_listener,
    listening,
    open_descriptors,
    run,
    scene,
    slots,
    turns,
    until,
    until_closed,
    url_of,
    with_pool,
)


@with_pool(most=4)
async def test_there_are_never_more_connections_than_that(peer: Peer, pool: HttpPool) -> None:
    asked = [Asked(pool) for _ in range(10)]
    links = [await peer.asked() for _ in range(4)]
    await turns(10)
    assert not peer.has_more_links
    for link in links:
        link.close()
    for each in asked[:4]:
        await each.failure()
    for _ in range(4):
        (await peer.asked()).send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    for _ in range(2):
        (await peer.asked()).send(OK)
    for each in asked[4:]:
        assert await each.status() == 200


async def assert_all_slots(peer: Peer, pool: HttpPool, most: int) -> None:
    """That many requests are under way at the same time, and one more is not."""
    asked = [Asked(pool, b"slot") for _ in range(most + 1)]
    links: list[Link] = []
    while len(links) < most:
        link = await peer.accept()
        if await link_asks(link):
            links.append(link)
    await turns(10)
    assert not peer.has_more_links
    for link in links:
        link.send(OK)
    assert await links[0].request() == b"slot"
    links[0].send(OK)
    for each in asked:
        assert await each.status() == 200


async def link_asks(link: Link) -> bool:
    """False for one that was cancelled."""
    try:
        return await link.request() == b"slot"
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


@pytest.mark.parametrize("late", range(12))
def test_a_slot_comes_back_whenever_the_request_is_cancelled(late: int) -> None:
    """At once, before the task that connects has begun, and at every turn of the loop after."""

    async def scenario() -> None:
        async with scene(most=2) as (peer, pool):
            asked = [Asked(pool, b"cancelled") for _ in range(5)]
            await turns(late)
            for each in asked:
                each.exchange.cancel()
            await assert_all_slots(peer, pool, 2)
            assert not any(each.is_answered for each in asked)

    run(scenario())


@with_pool()
async def test_one_cancelled_while_it_waits_is_passed_over(peer: Peer, pool: HttpPool) -> None:
    asked = [Asked(pool, b"%d" % number) for number in range(3)]
    asked[1].exchange.cancel()
    link = await peer.accept()
    assert await link.request() == b"0"
    link.send(OK)
    assert await link.request() == b"2"
    link.send(OK)
    assert await asked[2].status() == 200
    assert not asked[1].is_answered


def test_one_cancelled_while_it_connects_gives_the_slot_to_the_next() -> None:
    async def scenario() -> None:
        with full_listener() as url:
            pool = HttpPool(url, 1)
            first, second = Asked(pool), Asked(pool)
            await turns(5)
            assert pool._unused == 0
            first.exchange.cancel()
            await turns(5)
            assert second.exchange.has_turn
            assert slots(pool) == 1
            second.exchange.cancel()
            await until(lambda: pool._unused == 1 and not pool._connecting)
            assert not first.is_answered
            assert not second.is_answered

    run(scenario())


def test_a_refused_connection_is_a_failure_and_costs_no_slot() -> None:
    async def scenario() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            pool = HttpPool(url_of(bound), 2)
            asked = [Asked(pool) for _ in range(5)]
            for each in asked:
                assert "Connect" in await each.failure()
            assert pool._unused == 2

    run(scenario())


def test_a_name_that_cannot_be_one_is_a_failure_at_once() -> None:
    """socket raises a UnicodeError for it, not an OSError."""

    async def scenario() -> None:
        pool = HttpPool(f"http://{'a' * 64}.example", 1)
        for _ in range(2):
            assert await Asked(pool).failure()
        assert pool._unused == 1

    run(scenario())


@with_pool(most=2)
async def test_a_caller_that_fails_harms_neither_the_pool_nor_the_others(
    peer: Peer, pool: HttpPool
) -> None:
    def fail(status: int, failure: str) -> None:
        raise RuntimeError("a bug of the caller's")

    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    told: list[Any] = []
    loop.set_exception_handler(lambda _, each: told.append(each["exception"]))
    pool.post(b"slot", fail)
    link = await peer.asked()
    link.send(OK)
    await link.closed()
    loop.set_exception_handler(handler)
    assert [str(each) for each in told] == ["a bug of the caller's"]
    await assert_all_slots(peer, pool, 2)


@pytest.mark.parametrize("late", range(8))
def test_after_close_nothing_is_left_and_nobody_is_answered(late: int) -> None:
    """With some idle, some busy, some connecting, some waiting."""

    async def scenario() -> None:
        async with listening() as peer:
            before, tasks = open_descriptors(), len(asyncio.all_tasks())
            pool = HttpPool(peer.url, 4)
            done = [Asked(pool) for _ in range(2)]
            for _ in range(2):
                (await peer.asked()).send(OK)
            for each in done:
                await each.status()
            asked = [Asked(pool) for _ in range(6)]
            await turns(late)
            pool.close()
            await until(lambda: pool._unused == 4)
            await until_closed(peer, before)
            assert len(asyncio.all_tasks()) == tasks
            assert not any(each.is_answered for each in asked)

    run(scenario())
