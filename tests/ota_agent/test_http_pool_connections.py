"""Connections of the attestation client that are no longer what they were."""

import gc
import weakref
from collections.abc import Callable

import pytest

from ota_agent import http_pool
from ota_agent.http_pool import HttpPool
from tests.ota_agent.http_answers import NO, OK, WHOLE_THEN_CLOSED
from tests.ota_agent.http_peer import Asked, Link, Peer, run, scene, turns, with_pool


@with_pool()
async def test_an_idle_connection_that_the_server_has_closed_is_not_used(
    peer: Peer, pool: HttpPool
) -> None:
    first = Asked(pool)
    link = await peer.asked()
    link.send(OK)
    await first.status()
    link.close()
    second = Asked(pool)
    (await peer.asked()).send(NO)
    assert await second.status() == 401


@pytest.mark.parametrize("end", [Link.close, Link.reset])
def test_one_that_closes_as_the_request_is_on_its_way_costs_no_failure(
    end: Callable[[Link], None],
) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            first = Asked(pool)
            link = await peer.asked()
            link.send(OK)
            await first.status()
            second = Asked(pool, b"again")
            await link.request()
            end(link)
            fresh = await peer.accept()
            assert await fresh.request() == b"again"
            fresh.send(NO)
            assert await second.status() == 401

    run(scenario())


@with_pool()
async def test_asked_again_it_waits_for_nobody_and_is_asked_once(
    peer: Peer, pool: HttpPool
) -> None:
    """The slot goes from the dead connection to the new one; if that dies too, it has failed."""
    first = Asked(pool)
    link = await peer.asked()
    link.send(OK)
    await first.status()
    second, third = Asked(pool, b"second"), Asked(pool, b"third")
    await link.request()
    link.close()
    fresh = await peer.accept()
    assert await fresh.request() == b"second"
    fresh.close()
    assert await second.failure() == "closed without an answer"
    last = await peer.accept()
    assert await last.request() == b"third"
    last.send(OK)
    assert await third.status() == 200


@with_pool()
async def test_one_that_has_begun_to_answer_is_not_asked_again(peer: Peer, pool: HttpPool) -> None:
    first = Asked(pool)
    link = await peer.asked()
    link.send(OK)
    await first.status()
    second = Asked(pool)
    await link.request()
    await link.send_apart([b"H"])
    link.close()
    assert await second.failure() == "closed in the middle of its answer"


def test_one_that_was_idle_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall may have forgotten it without a word, and then every request on it is lost."""
    monkeypatch.setattr(http_pool, "_MOST_IDLE_S", 0.0)

    async def scenario() -> None:
        async with scene() as (peer, pool):
            for _ in range(3):
                asked = Asked(pool)
                link = await peer.asked()
                link.send(OK)
                await asked.status()
            assert not peer.has_more_links

    run(scenario())


@with_pool()
async def test_a_lost_connection_leaves_nothing_for_the_garbage_collector(
    peer: Peer, pool: HttpPool
) -> None:
    """A server that closes after each answer costs a connection per update."""
    asked = Asked(pool)
    link = await peer.asked()
    connection = weakref.ref(next(iter(pool._connections)))
    gc.disable()
    try:
        link.send(WHOLE_THEN_CLOSED["Connection: close"])
        await asked.status()
        await turns(5)
        assert connection() is None
    finally:
        gc.enable()
