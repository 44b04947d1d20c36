"""The attestation client's connections against servers that do as the test tells them, and against
any bytes at all: no answer is credited to another request, and no slot is ever lost."""

import asyncio
import gc
import os
import re
import socket
import ssl
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import h11
import pytest
from hypothesis import example, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ota_agent import http_pool
from ota_agent.errors import SettingsError
from ota_agent.http_pool import Exchange, HttpPool, target_of
from ota_agent.settings import Settings
from tests import world

SEED = 8
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NO = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Result = tuple[int, str]


class Link:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """The body of the next request."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)\r\n", head)
        assert length is not None
        return await self._reader.readexactly(int(length[1]))

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)

    async def send_apart(self, pieces: list[bytes]) -> None:
        """Each piece is read by the client before the next is sent."""
        for piece in pieces:
            if not self._writer.transport.is_closing():
                self.send(piece)
                await turns(3)

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def closed(self) -> bytes:
        """What still came before the client closed."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""


class Peer:
    def __init__(self) -> None:
        self.url = ""
        self._links: asyncio.Queue[Link] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self) -> Link:
        return await self._links.get()

    async def asked(self) -> Link:
        """The next connection, its request read."""
        link = await self.accept()
        await link.request()
        return link

    @property
    def has_more_links(self) -> bool:
        return not self._links.empty()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._links.put_nowait(Link(reader, writer))

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.connected, "127.0.0.1", 0, ssl=tls)
    peer.url = url_of(server.sockets[0])
    if tls is not None:
        peer.url = peer.url.replace("http:", "https:")
    async with server:
        try:
            yield peer
        finally:
            peer.close()


def url_of(listener: Any) -> str:
    """Of a socket, or of what asyncio gives out for one."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Asked:
    """One exchange and what came of it; a second answer to it would be an error of the loop's."""

    def __init__(self, pool: HttpPool, body: bytes = b"pem") -> None:
        self._result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.exchange: Exchange = pool.post(body, self._set)

    def _set(self, status: int, failure: str) -> None:
        self._result.set_result((status, failure))

    @property
    def is_answered(self) -> bool:
        return self._result.done()

    async def result(self) -> Result:
        return await self._result

    async def status(self) -> int:
        status, failure = await self._result
        assert failure == ""
        return status

    async def failure(self) -> str:
        status, failure = await self._result
        assert status == 0
        assert failure
        return failure


async def turns(count: int) -> None:
    """Of the event loop: what loopback and the kernel have is then delivered."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0)


async def until_closed(peer: "Peer", before: set[str]) -> None:
    """Until no descriptor is open that was not open before; the peer's side has to close too."""
    while not open_descriptors() <= before:
        peer.close()
        await asyncio.sleep(0)


def slots(pool: HttpPool) -> int:
    """Those there are: unused, or with a connection that is there or being made."""
    return pool._unused + len(pool._connections) + len(pool._connecting)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def timers() -> list[asyncio.TimerHandle]:
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def run(scenario: Awaitable[None]) -> None:
    """To its end; what asyncio would only log is a failure."""

    async def watched() -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, each: problems.append(each))
        async with asyncio.timeout(10):
            await scenario
        assert problems == []

    asyncio.run(watched())


Scenario = Callable[[Peer, HttpPool], Awaitable[None]]


def with_pool(most: int = 1) -> Callable[[Scenario], Callable[[], None]]:
    """Make it a test, run in a `scene`. Tests with parameters make their scene themselves."""

    def decorate(scenario: Scenario) -> Callable[[], None]:
        def test() -> None:
            async def whole() -> None:
                async with scene(most) as (peer, pool):
                    await scenario(peer, pool)

            run(whole())

        test.__name__ = test.__qualname__ = getattr(scenario, "__name__", "test")
        test.__doc__ = scenario.__doc__
        return test

    return decorate


@asynccontextmanager
async def scene(most: int = 1, tls: ssl.SSLContext | None = None) -> AsyncIterator[Any]:
    """A peer and a pool; in the end all slots are there, and no socket, task or timer."""
    async with listening(tls) as peer:
        before = open_descriptors(), len(asyncio.all_tasks()), len(timers())
        pool = HttpPool(peer.url, most)
        yield peer, pool
        assert slots(pool) == most
        pool.close()
        await until(lambda: pool._unused == most and not pool._connecting)
        await until_closed(peer, before[0])
        assert len(asyncio.all_tasks()) <= before[1]
        assert len(timers()) <= before[2]


# Whose answer it is


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


# What is an answer

WHOLE = {
    "content length": OK,
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunks": CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "chunk extension": CHUNKED + b'2;a=b;c="d"\r\n{}\r\n0\r\n\r\n',
    "trailers": CHUNKED + b"2\r\n{}\r\n0\r\nDigest: x\r\n\r\n",
    "no reason": OK.replace(b" OK", b" "),
    "100 first": CONTINUE + OK,
    "many interim": (CONTINUE + b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n") * 20 + OK,
    "interim with length": b"HTTP/1.1 102 x\r\nContent-Length: 9\r\n\r\n" + OK,
    "60 KB": b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000),
}
WHOLE_THEN_CLOSED = {
    "Connection: close": OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "HTTP/1.0": OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "body to the end": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "nothing to the end": b"HTTP/1.0 200 OK\r\n\r\n",
    "interim, then to the end": b"HTTP/1.1 102 x\r\nContent-Length: 9\r\n\r\n"
    b"HTTP/1.1 200 OK\r\n\r\n{}",
}
NOT_AN_ANSWER = {
    "garbage": bytes(range(256)),
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "ICE": OK.replace(b"HTTP", b"ICE"),
    "RTSP": OK.replace(b"HTTP", b"RTSP"),
    "ICE after an interim answer": CONTINUE + OK.replace(b"HTTP", b"ICE"),
    "HTTP/2.0": OK.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/0.9": OK.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/3": OK.replace(b"HTTP/1.1", b"HTTP/3"),
    "empty line first": b"\r\n" + OK,
    "status of four digits": OK.replace(b"200", b"2000"),
    "status of two digits": OK.replace(b"200", b"20"),
    "status in letters": OK.replace(b"200", b"OK!"),
    "status -200": OK.replace(b"200", b"-200"),
    "101": b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "101 and nothing of it": b"HTTP/1.1 101 x\r\n\r\n" + OK,
    "header without colon": OK.replace(b"Content-Length:", b"Content-Length"),
    "space before colon": OK.replace(b"Length:", b"Length :"),
    "folded header": OK.replace(b": 2", b":\r\n 2"),
    "NUL in the reason": OK.replace(b"OK", b"\0"),
    "NUL in an interim reason": CONTINUE.replace(b"Continue", b"\0") + OK,
    "NUL in header": OK.replace(b": 2", b": \x002"),
    "bare LF": OK.replace(b"\r\n", b"\n"),
    "two lengths": OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    "length in a list": OK.replace(b": 2", b": 2, 2"),
    "negative length": OK.replace(b": 2", b": -2"),
    "length with a sign": OK.replace(b": 2", b": +2"),
    "no length in the length": OK.replace(b": 2", b":"),
    "enormous length": OK.replace(b": 2", b": 99999999999999999999"),
    "length and chunks": CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunk size that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunk longer than said": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "enormous chunk": CHUNKED + b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
}
CUT_SHORT = {
    "nothing": b"",
    "half a status line": OK[:12],
    "half a head": OK[:30],
    "a head without its body": OK[:-2],
    "a body shorter than said": OK[:-1],
    "only interim": CONTINUE,
    "chunks without their end": CHUNKED + b"2\r\n{}\r\n",
    "chunks without the last line": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "status 99": OK.replace(b"200", b"099"),
    "head of an answer to the end": b"HTTP/1.1 200 OK\r\n",
    "unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n{}",
}


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


# Connections that are no longer what they were


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


# Slots


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


@contextmanager
def full_listener() -> Iterator[str]:
    """One that drops whoever wants to connect, as a host that is gone does."""
    with socket.socket() as listener, socket.socket() as only:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        only.connect(listener.getsockname())
        yield url_of(listener)


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


# TLS


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    """Of a server for 127.0.0.1, by `world.authority("attestation CA")`."""
    certificate, key = world.authority("attestation CA").issue("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


@pytest.fixture
def known_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine knows the authority that issued the server's certificate."""
    (tmp_path / "ca.pem").write_bytes(world.authority("attestation CA").ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("known_ca")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_keeps_its_connection_too(
    server_tls: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    server_tls.minimum_version = server_tls.maximum_version = version

    async def scenario() -> None:
        async with scene(tls=server_tls) as (peer, pool):
            link = None
            for status, raw in ((200, OK), (401, NO)) * 3:
                asked = Asked(pool)
                link = link or await peer.accept()
                await link.request()
                link.send(raw)
                assert await asked.status() == status
            assert not peer.has_more_links

    run(scenario())


def test_a_certificate_of_an_authority_unknown_here_is_not_taken(
    server_tls: ssl.SSLContext,
) -> None:
    async def scenario() -> None:
        async with listening(server_tls) as peer:
            pool = HttpPool(peer.url, 1)
            for _ in range(2):
                assert "certificate verify failed" in await Asked(pool).failure()
            assert pool._unused == 1
            assert not peer.has_more_links

    run(quietly(scenario))


@pytest.mark.usefixtures("known_ca")
def test_a_certificate_for_another_name_is_not_taken(server_tls: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with listening(server_tls) as peer:
            pool = HttpPool(peer.url.replace("127.0.0.1", "localhost"), 1)
            assert "certificate verify failed" in await Asked(pool).failure()
            assert pool._unused == 1

    run(quietly(scenario))


async def quietly(scenario: Callable[[], Awaitable[None]]) -> None:
    """The server's side of a handshake that fails is logged by asyncio; that is not our side."""
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()

    def told(_: Any, each: dict[str, Any]) -> None:
        if not isinstance(each.get("exception"), ssl.SSLError) and handler is not None:
            handler(loop, each)

    loop.set_exception_handler(told)
    await scenario()


def test_a_server_without_tls_where_https_was_meant_is_a_failure() -> None:
    async def scenario() -> None:
        async with listening() as peer:
            pool = HttpPool(peer.url.replace("http:", "https:"), 1)
            asked = Asked(pool)
            (await peer.accept()).send(OK)
            assert await asked.failure()
            assert pool._unused == 1

    run(scenario())


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_handshake_that_never_ends_can_be_ended(how: str) -> None:
    async def scenario() -> None:
        async with listening() as peer:
            before = open_descriptors(), len(asyncio.all_tasks()), len(timers())
            pool = HttpPool(peer.url.replace("http:", "https:"), 1)
            asked = Asked(pool)
            link = await peer.accept()
            if how == "cancel":
                asked.exchange.cancel()
            else:
                pool.close()
            await link.closed()
            await until(lambda: pool._unused == 1)
            await until_closed(peer, before[0])
            assert len(asyncio.all_tasks()) == before[1]
            assert len(timers()) <= before[2]
            assert not asked.is_answered

    run(scenario())


@pytest.mark.usefixtures("known_ca")
def test_over_tls_too_an_answer_before_the_request_is_not_for_it(
    server_tls: ssl.SSLContext,
) -> None:
    async def scenario() -> None:
        async with scene(tls=server_tls) as (peer, pool):
            first = Asked(pool)
            link = await peer.asked()
            link.send(NO)
            await first.status()
            link.send(OK)
            second = Asked(pool)
            (await peer.asked()).send(NO)
            assert await second.status() == 401

    run(scenario())


@pytest.mark.usefixtures("known_ca")
def test_over_tls_what_follows_an_answer_that_fills_the_buffer_is_nobodys(
    server_tls: ssl.SSLContext,
) -> None:
    """TLS holds the rest, decrypted: the socket has nothing to read."""

    async def scenario() -> None:
        async with scene(tls=server_tls) as (peer, pool):
            head = b"HTTP/1.1 401 x\r\nContent-Length: %05d\r\n\r\n"
            length = len(pool.buffer) - len(head % 0)
            first, second = Asked(pool), Asked(pool)
            link = await peer.asked()
            link.send(head % length + bytes(length) + OK)
            assert await first.status() == 401
            (await peer.asked()).send(NO)
            assert await second.status() == 401

    run(scenario())


# URLs


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://auth", b"POST / HTTP/1.1", b"auth"),
        ("http://auth:80/", b"POST / HTTP/1.1", b"auth"),
        ("http://auth:8000/a/b?c=d#e", b"POST /a/b?c=d HTTP/1.1", b"auth:8000"),
        ("http://auth?c=d", b"POST /?c=d HTTP/1.1", b"auth"),
        ("http://[::1]:8000/x", b"POST /x HTTP/1.1", b"[::1]:8000"),
        ("https://auth:443", b"POST / HTTP/1.1", b"auth"),
        ("https://auth:80", b"POST / HTTP/1.1", b"auth:80"),
    ],
)
def test_the_request_names_path_and_host(url: str, line: bytes, host: bytes) -> None:
    lines = target_of(url).head.split(b"\r\n")
    assert lines[0] == line
    assert lines[1] == b"Host: " + host


INJECTIONS = [" ", "\r\n", "\n", "\r", "\t", "\0", "\x0b", "\x7f", "\x85", "\u2028", "\xa0", "é"]


@pytest.mark.parametrize("what", INJECTIONS)
@pytest.mark.parametrize("place", ["http://a%sb/", "http://a/b%sc", "http://a/?b%sc", "http://a%s"])
def test_a_url_that_could_end_a_line_of_the_request_is_refused(what: str, place: str) -> None:
    with pytest.raises(SettingsError):
        settings_with(place % what)
    with pytest.raises(SettingsError):
        settings_with(place % f"{what}X-Header: y{what}")


@seed(SEED)
@hypothesis_settings(max_examples=500, deadline=None, database=None)
@given(st.text(st.characters(max_codepoint=0x2100), max_size=30))
def test_whatever_url_is_taken_the_request_has_the_lines_it_should(rest: str) -> None:
    try:
        settings_with(f"http://h{rest}")
    except SettingsError:
        return
    head = target_of(f"http://h{rest}").head
    lines = head.split(b"\r\n")
    assert len(lines) == 5
    assert [line.split(b" ")[0] for line in lines[1:]] == [
        b"Host:", b"User-Agent:", b"Content-Type:", b"Content-Length:",
    ]  # fmt: skip
    assert len(lines[0].split(b" ")) == 3
    assert all(byte in b"\r\n" or 0x20 <= byte < 0x7F for byte in head)


def settings_with(url: str) -> Settings:
    return Settings(firmware=Path("f"), certificate=Path("c"), key=Path("k"), dice_auth_url=url)


# Any bytes at all


def by_h11(raw: bytes) -> int | None:
    """The status of the one whole answer h11 reads from these bytes and the end of the connection
    after them; None where it reads none. What follows a whole answer does not matter."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    status = None
    try:
        client.receive_data(raw)
        client.receive_data(b"")
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code if event.http_version in (b"1.0", b"1.1") else None
            elif isinstance(event, h11.EndOfMessage):
                return status
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


class Answering:
    """One loop, one server, one pool of one slot for all examples: a slot that were lost, or an
    answer that were left over, would show in the next."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._problems: list[Any] = []
        self._runner.get_loop().set_exception_handler(lambda _, each: self._problems.append(each))
        self._runner.run(self._start())

    async def _start(self) -> None:
        self._context = listening()
        self._peer = await self._context.__aenter__()
        self._pool = HttpPool(self._peer.url, 1)

    def close(self) -> None:
        async def end() -> None:
            self._pool.close()
            await self._context.__aexit__(None, None, None)
            await until(lambda: self._pool._unused == 1)

        self._runner.run(end())
        self._runner.close()

    def ask(self, pieces: list[bytes], *, then_reset: bool = False) -> Result:
        result = self._runner.run(asyncio.wait_for(self._ask(pieces, then_reset), 10))
        assert self._problems == []
        return result

    async def _ask(self, pieces: list[bytes], then_reset: bool) -> Result:
        asked = Asked(self._pool)
        link = await self._peer.asked()
        await link.send_apart(pieces)
        if then_reset:
            link.reset()
        else:
            link.close()
        result = await asked.result()
        assert slots(self._pool) == 1
        await until(lambda: self._pool._unused == 1)
        return result


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    server = Answering()
    yield server
    server.close()


def pieces_of(raw: bytes, marks: list[int]) -> list[bytes]:
    at = sorted({mark % (len(raw) + 1) for mark in marks})
    bounds = [0, *at, len(raw)]
    return [raw[start:end] for start, end in pairwise(bounds) if end > start]


SEEDS = [*WHOLE.values(), *WHOLE_THEN_CLOSED.values(), *NOT_AN_ANSWER.values(), *CUT_SHORT.values()]
SMALL = [each for each in SEEDS if len(each) < 1000]
FRAGMENTS = [
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 OK", b"401 No", b"100 x", b"204 x", b"304 x", b"\r\n", b"\r",
    b"\n", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"Connection: ",
    b"close", b"keep-alive", b"Upgrade: x", b"0", b"2", b"{}", b"5", b";", b": ", b" ", b"a", b"\0",
    b"0\r\n\r\n", b"Content-Length: 2\r\n\r\n{}", OK, NO, CONTINUE, CHUNKED,
]  # fmt: skip
assembled = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A known answer with a stretch of it replaced."""
    raw = draw(st.sampled_from(SMALL))
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(len(raw), start + 6)))
    return raw[:start] + draw(st.one_of(st.binary(max_size=4), assembled)) + raw[end:]


@seed(SEED)
@hypothesis_settings(max_examples=1500, deadline=None, database=None)
@given(
    st.one_of(st.binary(max_size=200), assembled, mutated()), st.lists(st.integers(0), max_size=3)
)
@example(OK + NO, [])
@example(CONTINUE + OK, [3])
def test_any_bytes_are_a_200_only_where_h11_reads_one_too(
    answering: Answering, raw: bytes, marks: list[int]
) -> None:
    """Compared: the bytes, in any pieces, then the end of the connection. Where the pool reports
    a status, h11 reads a whole answer with the same status from the same bytes, version 1.0 or
    1.1. Not the other way: what h11 takes and we do not is a refusal. (No fragment names a
    transfer coding beside chunked: h11 knows no other.) The next example has the slot of this."""
    status, failure = answering.ask(pieces_of(raw, marks))
    assert bool(status) != bool(failure)
    if status:
        assert status == by_h11(raw)


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """An answer as RFC 9112 has it, with another after it now and then."""
    interim = draw(st.lists(st.sampled_from([CONTINUE, b"HTTP/1.1 103 x\r\nA: b\r\n\r\n"])))
    version = draw(st.sampled_from([b"1.0", b"1.1"]))
    code = draw(st.sampled_from([200, 200, 201, 204, 302, 304, 401, 403, 404, 500, 503]))
    names = st.from_regex(rb"\A[A-Za-z][A-Za-z-]{0,8}\Z").filter(
        lambda name: name.lower() not in (b"connection", b"upgrade", b"te")
    )
    values = st.from_regex(rb"\A([!-~]([ -~]{0,8}[!-~])?)?\Z")
    headers = draw(st.lists(st.tuples(names, values), max_size=3))
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    if framing == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked" and version == b"1.1":
        headers.append((b"Transfer-Encoding", b"chunked"))
        chunks = [body[:7], body[7:]]
        body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks if each)
        body += b"0\r\n\r\n"
    head = b"".join(b"%b: %b\r\n" % each for each in headers)
    after = draw(st.sampled_from([b"", b"", OK, b"HTTP", b"junk"])) if framing != "end" else b""
    return b"".join(
        [*interim, b"HTTP/%b %d Reason\r\n" % (version, code), head, b"\r\n", body, after]
    )


@seed(SEED)
@hypothesis_settings(max_examples=500, deadline=None, database=None)
@given(well_formed(), st.lists(st.integers(0), max_size=3))
def test_an_answer_as_the_rfc_has_it_is_read_as_h11_reads_it_however_it_is_cut(
    answering: Answering, raw: bytes, marks: list[int]
) -> None:
    """The same status, whatever pieces it comes in."""
    assert answering.ask([raw]) == answering.ask(pieces_of(raw, marks)) == (by_h11(raw), "")


@seed(SEED)
@hypothesis_settings(max_examples=150, deadline=None, database=None)
@given(st.sampled_from(SMALL), st.integers(0))
def test_a_reset_in_the_middle_is_never_a_200_that_h11_would_not_have_had_before_it(
    answering: Answering, raw: bytes, mark: int
) -> None:
    cut = raw[: mark % (len(raw) + 1)]
    status, _ = answering.ask([cut], then_reset=True)
    if status:
        assert status == by_h11(cut)
