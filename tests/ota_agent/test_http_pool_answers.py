"""What is an answer to the attestation client, and what is none or only half of one."""

from typing import Any

import pytest

from ota_agent.http_pool import HttpPool
from tests.ota_agent.http_answers import (
    CHUNKED,
    CONTINUE,
    CUT_SHORT,
    NOT_AN_ANSWER,
    OK,
    WHOLE,
    WHOLE_THEN_CLOSED,
)
from tests.ota_agent.http_peer import Asked, Peer, run, scene, with_pool


def cuts(raw: bytes) -> list[list[bytes]]:
    """Whole, and where that is not too long byte by byte."""
    apart = [raw[at : at + 1] for at in range(len(raw))]
    return [[raw], apart] if len(raw) < 1000 else [[raw]]


def cases(table: dict[str, bytes]) -> Any:
    return pytest.mark.parametrize("raw", table.values(), ids=table.keys())


@cases(WHOLE)
def test_a_whole_answer_counts_and_its_connection_is_kept(raw: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            link = None
            for pieces in cuts(raw):
                asked = Asked(pool)
                link = link or await peer.accept()
                await link.request()
                await link.send_apart(pieces)
                assert await asked.status() == 200
            assert not peer.has_more_links

    run(scenario())


@cases(WHOLE_THEN_CLOSED)
def test_a_whole_answer_that_ends_its_connection_counts(raw: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            for pieces in cuts(raw):
                asked, waiting = Asked(pool), Asked(pool)
                link = await peer.asked()
                await link.send_apart(pieces)
                link.close()
                assert await asked.status() == 200
                (await peer.asked()).send(WHOLE_THEN_CLOSED["Connection: close"])
                assert await waiting.status() == 200

    run(scenario())


@with_pool()
async def test_after_connection_close_the_slot_does_not_wait_for_the_server_to_close(
    peer: Peer, pool: HttpPool
) -> None:
    first, second = Asked(pool), Asked(pool)
    link = await peer.asked()
    link.send(WHOLE_THEN_CLOSED["Connection: close"])
    assert await first.status() == 200
    (await peer.asked()).send(OK)
    assert await second.status() == 200
    assert await link.closed() == b""


@cases(NOT_AN_ANSWER)
def test_what_is_no_answer_is_a_failure_at_once(raw: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            for pieces in cuts(raw):
                asked = Asked(pool)
                link = await peer.asked()
                await link.send_apart(pieces)
                failure = await asked.failure()
                assert "not an HTTP" in failure or "another protocol" in failure
                assert await link.closed() == b""

    run(scenario())


@cases(CUT_SHORT)
def test_half_an_answer_is_a_failure(raw: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            for pieces in cuts(raw):
                asked = Asked(pool)
                link = await peer.asked()
                await link.send_apart(pieces)
                link.close()
                assert (await asked.failure()).startswith("closed ")

    run(scenario())


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\r\n\r\n{}", OK[:-1], OK[:12], b""])
def test_a_reset_never_ends_an_answer(raw: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            asked = Asked(pool)
            link = await peer.asked()
            await link.send_apart([raw])
            link.reset()
            assert (await asked.failure()).startswith("closed ")

    run(scenario())


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
        (CHUNKED, b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 200),
        (b"HTTP/1.1 200 OK\r\nA: ", b"x" * 1000),
        (b"HTTP/1.1 200 ", b"x" * 1000),
        (CHUNKED + b"1;", b"x" * 1000),
        (b"", CONTINUE * 40),
    ],
    ids=["length", "to the end", "chunks", "headers", "header", "reason", "extension", "interim"],
)
def test_an_answer_without_end_is_cut_off(start: bytes, more: bytes) -> None:
    async def scenario() -> None:
        async with scene() as (peer, pool):
            asked = Asked(pool)
            link = await peer.asked()
            link.send(start)
            for _ in range(70):
                await link.send_apart([more])
            assert await asked.failure() == "an answer of more than 65536 bytes"
            assert await link.closed() == b""

    run(scenario())
