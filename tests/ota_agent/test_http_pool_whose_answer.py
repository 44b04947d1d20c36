"""Whose answer it is: none that the attestation server sends is credited to another request."""

import socket
from typing import Any

import pytest

from ota_agent.http_pool import HttpPool
from tests.ota_agent.http_answers import CONTINUE, NO, OK
from tests.ota_agent.http_peer import Asked, Peer, run, scene, turns, until, url_of, with_pool


@pytest.mark.parametrize(
    "more",
    [OK, OK * 3, OK[:20], OK[:-1], b"H", b"x", b" ", b"HTTP/1.1 200 OK\r\n\r\n", CONTINUE, b"\0"],
)
def test_bytes_after_an_answer_are_nobodys(more: bytes) -> None:
    """In the same segment; the one who waits for the connection gets a new one."""

    async def scenario() -> None:
        async with scene() as (peer, pool):
            first, second = Asked(pool), Asked(pool)
            link = await peer.asked()
            link.send(NO + more)
            assert await first.status() == 401
            assert await link.closed() == b""
            assert not second.is_answered
            (await peer.asked()).send(NO)
            assert await second.status() == 401

    run(scenario())


@pytest.mark.parametrize("more", [OK, b"H", b"\r\n"])
def test_bytes_on_an_idle_connection_end_it(more: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            first = Asked(pool)
            link = await peer.asked()
            link.send(NO)
            await first.status()
            link.send(more)
            assert await link.closed() == b""
            second = Asked(pool)
            (await peer.asked()).send(NO)
            assert await second.status() == 401

    run(scenario())


@with_pool()
async def test_an_answer_that_was_there_before_the_request_is_not_for_it(
    peer: Peer, pool: HttpPool
) -> None:
    """It is in the kernel's buffer, unread, when the next request wants the connection."""
    first = Asked(pool)
    link = await peer.asked()
    link.send(NO)
    await first.status()
    link.send(OK)
    second = Asked(pool)
    assert await link.closed() == b""
    (await peer.asked()).send(NO)
    assert await second.status() == 401


@with_pool()
async def test_a_second_answer_that_is_there_already_does_not_go_to_the_one_who_waits(
    peer: Peer, pool: HttpPool
) -> None:
    """It arrives between the reading of the first and the handing on of the connection."""
    first, second = Asked(pool), Asked(pool)
    link = await peer.asked()
    free = pool.free

    def free_late(connection: Any) -> None:
        link.send(OK)
        free(connection)

    pool.free = free_late  # type: ignore[method-assign]
    link.send(NO)
    assert await first.status() == 401
    assert await link.closed() == b""
    pool.free = free  # type: ignore[method-assign]
    (await peer.asked()).send(NO)
    assert await second.status() == 401


def test_a_server_that_speaks_first_is_not_believed() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(5)
            pool = HttpPool(url_of(listener), 1)
            asked = Asked(pool)
            await turns(1)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(OK)
                assert await asked.failure() == "closed, or answered, before it was asked"
            await until(lambda: pool._unused == 1)

    run(scenario())


@with_pool()
async def test_an_answer_to_a_cancelled_request_is_for_nobody(peer: Peer, pool: HttpPool) -> None:
    first, second = Asked(pool), Asked(pool)
    link = await peer.asked()
    first.exchange.cancel()
    link.send(OK)
    assert await link.closed() == b""
    (await peer.asked()).send(NO)
    assert await second.status() == 401
    assert not first.is_answered


@with_pool()
async def test_an_answer_whose_first_part_came_before_the_cancellation_is_for_nobody(
    peer: Peer, pool: HttpPool
) -> None:
    first, second = Asked(pool), Asked(pool)
    link = await peer.asked()
    await link.send_apart([OK[:30]])
    first.exchange.cancel()
    link.send(OK[30:])
    (await peer.asked()).send(NO)
    assert await second.status() == 401
    assert not first.is_answered


@with_pool()
async def test_requests_take_turns_on_one_connection_in_the_order_they_came(
    peer: Peer, pool: HttpPool
) -> None:
    asked = [Asked(pool, b"%d" % number) for number in range(20)]
    link = await peer.accept()
    for number, each in enumerate(asked):
        assert await link.request() == b"%d" % number
        assert not each.is_answered
        link.send(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % (200 + number))
    assert [await each.status() for each in asked] == list(range(200, 220))
    assert not peer.has_more_links
