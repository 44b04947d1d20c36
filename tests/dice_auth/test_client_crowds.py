"""A thousand clients that are silent, hundreds that are slow, some that never read: a good
client's requests are answered all the while, and memory stays bounded."""

import asyncio
import json
import socket
import time
from pathlib import Path

import pytest

from dice_auth import http_protocol
from dice_auth.registry_url import open_registry
from tests.dice_auth.asking import ask
from tests.dice_auth.boards import board
from tests.dice_auth.server_process import server_process
from tests.dice_auth.test_server import Address, request, with_server

ENROLLED = board(1)
PEM = ENROLLED.pem.encode()
SILENT, SLOW = 1000, 200
# As long as such a client is let stay: until all are there.
STAY_S = 2.0
# Connecting at a time: the server has its turns between, though it shares their event loop.
ARRIVING = 50
TINY = b"GET /healthz HTTP/1.1\r\n\r\n"


def test_a_thousand_silent_and_two_hundred_slow_clients_at_once(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_TIMEOUT_S", STAY_S)
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_S", STAY_S)

    arriving = asyncio.Semaphore(ARRIVING)

    async def arrive(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with arriving:
            return await asyncio.open_connection(*address)

    async def drip(address: Address) -> bytes:
        """A body, a byte at a time, until the server has enough of it."""
        reader, writer = await arrive(address)
        sent = request(PEM)
        end = sent.index(b"\r\n\r\n") + 4
        writer.write(sent[:end])
        answer = asyncio.ensure_future(reader.read())
        try:
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait({answer}, timeout=0.1)
            return answer.result()
        except ConnectionError:
            return b""
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def be_silent(address: Address) -> bytes:
        reader, writer = await arrive(address)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def work(address: Address) -> None:
        silent = [asyncio.create_task(be_silent(address)) for _ in range(SILENT)]
        slow = [asyncio.create_task(drip(address)) for _ in range(SLOW)]
        crowd = asyncio.gather(*silent, *slow)
        asked, slowest_s = 0, 0.0
        while not crowd.done():
            started = time.monotonic()
            assert await ask(address, ENROLLED.pem) == 200
            slowest_s = max(slowest_s, time.monotonic() - started)
            asked += 1
        assert slowest_s < 1, slowest_s
        assert asked > 20
        assert {task.result() for task in silent} == {b""}
        answers = [task.result() for task in slow]
        assert all(answer[:12] in (b"", b"HTTP/1.1 408") for answer in answers)
        assert sum(answer != b"" for answer in answers) > SLOW / 2

    with_server(sqlite_url, work)


def memory_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def push(clients: list[socket.socket], each: bytes) -> int:
    """Send all that anybody takes; how much that was, once nobody has taken any for a while."""
    sent, at, last = 0, dict.fromkeys(clients, 0), time.monotonic()
    while time.monotonic() - last < 0.3:
        for client in clients:
            try:
                count = client.send(each[at[client] :])
            except BlockingIOError:
                continue
            at[client] = (at[client] + count) % len(each)
            sent, last = sent + count, time.monotonic()
            assert sent < 1 << 28, "the server takes in whatever is sent"
    return sent


def test_clients_that_send_thousands_of_requests_and_read_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"

    async def fill() -> None:
        async with open_registry(url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)

    asyncio.run(fill())
    with server_process(url, tmp_path) as server:
        assert server.ask(ENROLLED.pem) == 200
        before = memory_bytes(server.process.pid)
        clients = [socket.socket() for _ in range(10)]
        try:
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", server.port))
                client.setblocking(False)
            assert push(clients, TINY * 2000) > 10 * len(TINY) * 2000
            grown = memory_bytes(server.process.pid) - before
            assert grown < 60 << 20, grown
            started = time.monotonic()
            assert server.ask(ENROLLED.pem) == 200
            assert time.monotonic() - started < 1
        finally:
            for client in clients:
                client.close()


async def send_without_end(client: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, TINY * 1000)


def test_a_client_that_never_reads_is_closed(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")
    monkeypatch.setattr(http_protocol, "ANSWER_TIMEOUT_S", 0.3)

    async def work(address: Address) -> None:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.setblocking(False)
        async with asyncio.timeout(15):
            with pytest.raises(ConnectionError):
                await send_without_end(client)
        client.close()
        assert await ask(address, ENROLLED.pem) == 200

    with_server(sqlite_url, work)
    lines = [json.loads(each.getMessage()) for each in caplog.records if each.name == "dice_auth"]
    assert [line["event"] for line in lines].count("answers-unread") == 1


def test_a_client_that_reads_has_the_answers_to_thousands_of_requests_at_once(
    sqlite_url: str,
) -> None:
    async def work(address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(TINY * 5000 + request(PEM, headers="Connection: close\r\n"))
        async with asyncio.timeout(15):
            answers = await reader.read()
        assert answers.count(b"HTTP/1.1 200 OK\r\n") == 5001
        assert answers.endswith(b'{"status": "Certificate OK"}')
        writer.close()
        await writer.wait_closed()

    with_server(sqlite_url, work)
