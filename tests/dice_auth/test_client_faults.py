"""Clients that break off, half-close, send garbage or too much: each has its answer or none, and
the next client has his."""

import asyncio
import random
import re
import socket
import struct

import pytest

from dice_auth import http_protocol
from tests.dice_auth.asking import ask, asking
from tests.dice_auth.boards import board
from tests.dice_auth.test_server import (
    Address,
    exchange,
    read_answer,
    request,
    with_server,
)

ENROLLED, STRANGER = board(1), board(2)
PEM = ENROLLED.pem.encode()
GOOD = request(PEM)
HEAD_BYTES = GOOD.index(b"\r\n\r\n") + 4

STAGES = {
    "before anything": b"",
    "within the request line": GOOD[:9],
    "within the headers": GOOD[: HEAD_BYTES - 10],
    "after the headers": GOOD[:HEAD_BYTES],
    "within the body": GOOD[: HEAD_BYTES + 300],
    "before the answer": GOOD,
    "before the second of three answers": GOOD * 3,
    "within a chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nabc",
    "before 100 Continue": request(PEM, headers="Expect: 100-continue\r\n")[:-900],
    "within a body that is too long": request(b"x" * 200_000)[:150_000],
}


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("stage", STAGES)
def test_a_reset_at_any_stage_disturbs_nobody(stage: str, sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        async with asking(address, ENROLLED.pem) as enrolled:
            for _ in range(10):
                client = socket.create_connection(address)
                client.setblocking(False)
                await asyncio.get_running_loop().sock_sendall(client, STAGES[stage])
                reset(client)
                await enrolled.next()
        assert set(enrolled.statuses) == {200}

    with_server(sqlite_url, work)


async def half_closed(address: Address, sent: bytes) -> bytes:
    """All that is answered to a client that says that this is all it sends."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    writer.write_eof()
    try:
        async with asyncio.timeout(2):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def statuses(answers: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def test_a_client_that_half_closes_after_its_request_has_its_answer(sqlite_url: str) -> None:
    """As `nc -N` and some boards' libraries do; the originals answer them."""

    async def work(address: Address) -> None:
        assert statuses(await half_closed(address, GOOD)) == [200]
        stranger = request(STRANGER.pem.encode())
        assert statuses(await half_closed(address, GOOD + stranger + GOOD)) == [200, 401, 200]
        many = await half_closed(address, (GOOD + stranger) * 50)
        assert statuses(many) == [200, 401] * 50
        for path in ("/healthz", "/metrics"):
            sent = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
            assert statuses(await half_closed(address, sent)) == [200]

    with_server(sqlite_url, work)


def test_a_client_that_half_closes_within_its_request_is_closed(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        for sent in (b"", GOOD[:9], GOOD[:HEAD_BYTES], GOOD[:-1]):
            assert await half_closed(address, sent) == b""
        assert statuses(await half_closed(address, GOOD + GOOD[:-1])) in ([], [200])
        assert await ask(address, ENROLLED.pem) == 200

    with_server(sqlite_url, work)


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_head_has_the_head_alone_and_the_connection_goes_on(path: str, sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        head = f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        for before, after in ((b"", GOOD), (GOOD, head), (head, GOOD)):
            writer.write(before + head + after)
            for sent in (before, head, after):
                if sent == head:
                    answer = await reader.readuntil(b"\r\n\r\n")
                    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                    assert b"content-length: " in answer
                elif sent:
                    assert (await read_answer(reader))[0] == 200
        writer.write(head)  # alone: nothing follows that would bring it out
        async with asyncio.timeout(2):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    with_server(sqlite_url, work)


def test_100_continue_comes_before_the_body_and_only_once(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(2):
            asked = request(PEM, headers="Expect: 100-continue\r\n")
            writer.write(asked[: -len(PEM)])
            async with asyncio.timeout(2):
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(PEM)
            assert (await read_answer(reader))[0] == 200
        writer.close()
        await writer.wait_closed()

    with_server(sqlite_url, work)


def test_a_request_for_another_protocol_is_never_a_verdict_on_half_of_it(sqlite_url: str) -> None:
    """What curl --http2 and Java send. The parser cannot find the body of one with a body."""

    async def work(address: Address) -> None:
        upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
        assert (await exchange(address, request(PEM, headers=upgrade)))[0] == 400
        health = f"GET /healthz HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n".encode()
        assert (await exchange(address, health))[0] == 200

    with_server(sqlite_url, work)


GARBAGE = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "zeros": bytes(1000),
    "no version": b"GET /\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n\r\n",
    "a path that is not ASCII": b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    "no path": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length below nothing": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a length beyond all": b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "a header of control characters": b"GET / HTTP/1.1\r\nA: \x00\x01\r\n\r\n",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_a_bad_request_or_closed(case: str, sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        answer = await half_closed(address, GARBAGE[case])
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert await ask(address, ENROLLED.pem) == 200

    with_server(sqlite_url, work)


def test_bytes_at_random_are_never_accepted_and_never_an_error_of_ours(sqlite_url: str) -> None:
    seed = random.Random().randrange(1 << 32)
    print(f"seed {seed}")
    chosen = random.Random(seed)

    async def work(address: Address) -> None:
        for _ in range(300):
            sent = bytearray(GOOD)
            for _ in range(chosen.randrange(1, 4)):
                sent[chosen.randrange(HEAD_BYTES)] = chosen.randrange(256)
            answer = await half_closed(address, bytes(sent))
            assert not answer.startswith(b"HTTP/1.1 5"), (bytes(sent[:HEAD_BYTES]), answer)
        assert await ask(address, ENROLLED.pem) == 200

    with_server(sqlite_url, work)


ENDLESS = {
    "a header line": (b"POST / HTTP/1.1\r\nHost: ", b"a" * 65_536),
    "header lines": (b"POST / HTTP/1.1\r\n", b"A: b\r\n" * 8192),
    "a path": (b"POST /", b"a" * 65_536),
    "a trailer": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"A: b\r\n" * 8192,
    ),
    "a chunk's extension": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;",
        b"a" * 65_536,
    ),
    "a body": (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"a" * 65_536),
    "a body nobody asked for": (
        b"POST /api HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"a" * 65_536,
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_has_no_end_is_cut_soon(case: str, sqlite_url: str) -> None:
    """By its bytes, long before its time is over."""
    first, more = ENDLESS[case]

    async def work(address: Address) -> None:
        assert http_protocol.HEADER_TIMEOUT_S >= 10
        sent = len(first)
        async with asking(address, ENROLLED.pem) as enrolled, asyncio.timeout(8):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(first)
            try:
                while not reader.at_eof() and sent < 1 << 26:
                    writer.write(more)
                    await writer.drain()
                    sent += len(more)
                    await asyncio.sleep(0)  # in one process: the server has its turn
            except ConnectionError:
                pass
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            await enrolled.next()
        # Beside the limit: what the kernel holds for both ends.
        assert sent < 12 << 20, sent

    with_server(sqlite_url, work)


def test_a_head_as_long_as_browsers_send_is_taken(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        lines = "".join(f"X-{number}: {'a' * 1000}\r\n" for number in range(30))
        asked = request(PEM, line=f"POST /{'a' * 8000} HTTP/1.1", headers=lines)
        assert (await exchange(address, asked))[0] == 200
        assert (await exchange(address, asked + asked))[0] == 200

    with_server(sqlite_url, work)
