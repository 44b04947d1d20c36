"""The server over real sockets: what goes in, what comes out, byte for byte where it matters."""

import asyncio
import json
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dice_auth import http_protocol, server, verdict_queue
from dice_auth.errors import ListenError
from dice_auth.registry_url import open_registry
from tests.dice_auth.boards import board
from tests.dice_auth.redis_peer import RedisPeer

ENROLLED, STRANGER = board(1), board(2)
PEM = ENROLLED.pem.encode()

OK = (200, "OK", b'{"status": "Certificate OK"}')
INVALID = (401, "Unauthorized", b'{"status": "Certificate Invalid"}')
NOT_ALLOWED = (405, "Method Not Allowed", b"Only POST method allowed")

Address = tuple[str, int]


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Address]:
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        server.serve(url, "127.0.0.1", 0, ready=lambda *address: listening.set_result(address))
    )
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield listening.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def with_server(url: str, work: Callable[[Address], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_registry(url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)
        async with asyncio.timeout(20), running(url) as address:
            await work(address)

    asyncio.run(run())


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    found = re.fullmatch(r"HTTP/1\.1 (\d{3}) (.*)", head[0])
    assert found is not None, head[0]
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers["content-length"]))
    return int(found[1]), found[2], headers, body


async def exchange(address: Address, *pieces: bytes) -> tuple[int, str, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await read_answer(reader)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def request(body: bytes, *, line: str = "POST / HTTP/1.1", headers: str = "") -> bytes:
    return f"{line}\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (PEM[:99], PEM[99:100], PEM[100:])
    )
    + b"0\r\n\r\n"
)

TABLE = {
    "an enrolled board": (request(PEM, headers="Content-Type: text/plain\r\n"), OK),
    "any path": (request(PEM, line="POST /some/where?x=1 HTTP/1.1"), OK),
    "any content type": (request(PEM, headers="Content-Type: image/png\r\n"), OK),
    "HTTP/1.0": (request(PEM, line="POST / HTTP/1.0"), OK),
    "chunked": (CHUNKED, OK),
    "text before the certificate": (request(b"hello\n" + PEM), OK),
    "a second certificate": (request(PEM + STRANGER.pem.encode()), OK),
    "16 KB": (request(PEM + b"\n" * (16 * 1024 - len(PEM))), OK),
    "a stranger": (request(STRANGER.pem.encode()), INVALID),
    "a stranger before": (request(STRANGER.pem.encode() + PEM), INVALID),
    "the root itself": (request(ENROLLED.root_pem.encode()), INVALID),
    "DER": (request(ENROLLED.certificate), INVALID),
    "nothing": (request(b""), INVALID),
    "no length": (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", INVALID),
    "garbage": (request(bytes(range(256)) * 4), INVALID),
    "GET": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NOT_ALLOWED),
    "PUT": (request(PEM, line="PUT / HTTP/1.1"), NOT_ALLOWED),
    "DELETE": (b"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", NOT_ALLOWED),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_compatible_endpoint_answers_as_the_originals(case: str, sqlite_url: str) -> None:
    sent, (status, phrase, body) = TABLE[case]

    async def work(address: Address) -> None:
        answer = await exchange(address, sent)
        assert answer[:2] == (status, phrase)
        assert answer[3] == body
        headers = answer[2]
        assert headers["content-length"] == str(len(body))
        if status == 405:
            assert headers["content-type"] == "text/plain"
            assert headers["allow"] == "POST"
        else:
            assert headers["content-type"] == "application/json"

    with_server(sqlite_url, work)


def test_one_connection_carries_many_requests_also_pipelined(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request(PEM) + request(b"no") + request(PEM))
        assert [(await read_answer(reader))[0] for _ in range(3)] == [200, 401, 200]
        writer.write(request(PEM))
        assert (await read_answer(reader))[0] == 200
        writer.close()
        await writer.wait_closed()

    with_server(sqlite_url, work)


def test_a_request_may_come_byte_by_byte(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        sent = request(PEM)
        answer = await exchange(address, *(sent[at : at + 1] for at in range(len(sent))))
        assert answer[0] == 200

    with_server(sqlite_url, work)


def test_a_body_over_the_limit_is_refused_and_the_answer_arrives(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        assert (await exchange(address, request(PEM + b"\n" * 16 * 1024)))[0] == 413
        assert (await exchange(address, request(b"x" * 200_000)))[0] == 413
        assert (await exchange(address, request(PEM)))[0] == 200

    with_server(sqlite_url, work)


def test_a_long_method_is_a_bad_request_and_no_overflow(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        assert (await exchange(address, b"A" * 10_000 + b" / HTTP/1.1\r\n\r\n"))[0] == 400
        assert (await exchange(address, request(PEM)))[0] == 200

    with_server(sqlite_url, work)


def test_silent_clients_do_not_keep_others_waiting(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        silent = [await asyncio.open_connection(*address) for _ in range(100)]
        for _, writer in silent[:50]:
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\nabc")
        async with asyncio.timeout(2):
            assert (await exchange(address, request(PEM)))[0] == 200
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()

    with_server(sqlite_url, work)


def test_headers_and_bodies_have_a_deadline(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(http_protocol, "SWEEP_EVERY_S", 0.05)

    async def work(address: Address) -> None:
        for sent in (b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: a\r\n"):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await read_answer(reader)
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        slow = request(PEM)[:-10]
        assert (await exchange(address, slow))[0] == 408

    with_server(sqlite_url, work)


def test_a_clients_reset_leaves_the_server_alive(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        for sent in (b"", request(PEM)[:300], request(PEM)):
            client = socket.create_connection(address)
            client.sendall(sent)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert (await exchange(address, request(PEM)))[0] == 200

    with_server(sqlite_url, work)


def test_health_says_whether_the_registry_answers(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))

    async def work(address: Address) -> None:
        health = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        assert (await exchange(address, health))[0] == 200
        path.rename(path.with_suffix(".away"))
        assert (await exchange(address, health))[0] == 503
        path.with_suffix(".away").rename(path)
        assert (await exchange(address, health))[0] == 200

    with_server(sqlite_url, work)


def test_paths_of_our_own_are_not_the_compatible_endpoint(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        for path in ("/challenge/", "/attest/x", "/api/boards"):
            assert (await exchange(address, request(PEM, line=f"POST {path} HTTP/1.1")))[0] == 404
        for path in ("/healthz", "/metrics"):
            assert (await exchange(address, request(PEM, line=f"POST {path} HTTP/1.1")))[0] == 405
        for path in ("/attestation", "/metricsx", "/apis"):
            assert (await exchange(address, request(PEM, line=f"POST {path} HTTP/1.1")))[0] == 200

    with_server(sqlite_url, work)


def test_a_registry_that_is_down_is_503_and_recovers_without_a_restart(tmp_path: Path) -> None:
    peer = RedisPeer(tmp_path)
    peer.start()

    async def work(address: Address) -> None:
        assert (await exchange(address, request(PEM)))[0] == 200
        peer.stop()
        status, _, headers, _ = await exchange(address, request(PEM))
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert (await exchange(address, request(STRANGER.pem.encode())))[0] == 503
        peer.start()
        # Until the empty registry has been looked through, nobody is told that he is not in it.
        while (status := (await exchange(address, request(PEM)))[0]) == 503:
            await asyncio.sleep(0)
        assert status == 401
        async with open_registry(peer.url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)
        assert (await exchange(address, request(PEM)))[0] == 200

    try:
        with_server(peer.url, work)
    finally:
        peer.stop()


def test_a_refusal_is_one_line_with_the_failed_check_and_the_board(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")

    async def work(address: Address) -> None:
        await exchange(address, request(ENROLLED.root_pem.encode()))

    with_server(sqlite_url, work)
    lines = [
        json.loads(record.getMessage()) for record in caplog.records if record.name == "dice_auth"
    ]
    (refusal,) = [line for line in lines if line["event"] == "refused"]
    assert refusal["failed"] == ["is-root"]
    assert refusal["board"] == ENROLLED.board_id


def test_a_bug_is_500_and_one_line_and_never_a_verdict(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise LookupError("a bug")

    async def work(address: Address) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("dice_auth.verdict_queue.judge", broken)
            assert (await exchange(address, request(PEM)))[0] == 500
        assert (await exchange(address, request(PEM)))[0] == 200

    with_server(sqlite_url, work)
    (line,) = [r.getMessage() for r in caplog.records if "internal-error" in r.getMessage()]
    assert json.loads(line)["reason"] == "LookupError: a bug"


def test_a_bug_that_one_certificate_meets_costs_no_other_its_verdict(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are judged together."""
    judge, read = verdict_queue.judge, verdict_queue.read_request
    together: list[int] = []

    def judge_or_fail(question: Any, *others: Any) -> Any:
        if question.presented.der == STRANGER.certificate:
            raise LookupError("a bug")
        return judge(question, *others)

    def read_or_fail(body: bytes) -> Any:
        if body == b"a bug":
            raise LookupError("a bug")
        return read(body)

    async def run() -> list[object]:
        async with open_registry(sqlite_url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)
            queue = verdict_queue.VerdictQueue(registry)
            look = registry.roots_by_key_ids

            async def looked(key_ids: Any) -> Any:
                together.append(len(key_ids))
                return await look(key_ids)

            monkeypatch.setattr(registry, "roots_by_key_ids", looked)
            now = datetime.now(UTC)
            bodies = [PEM, STRANGER.pem.encode(), b"a bug", PEM]
            verdicts = (queue.verify(body, now) for body in bodies)
            return await asyncio.gather(*verdicts, return_exceptions=True)

    monkeypatch.setattr(verdict_queue, "judge", judge_or_fail)
    monkeypatch.setattr(verdict_queue, "read_request", read_or_fail)
    first, second, third, fourth = asyncio.run(run())
    assert together == [3]
    assert isinstance(second, LookupError)
    assert isinstance(third, LookupError)
    assert getattr(first, "accepted", False)
    assert getattr(fourth, "accepted", False)


def test_a_port_in_use_is_a_one_line_error(sqlite_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: the port is in use"):
            asyncio.run(server.serve(sqlite_url, "127.0.0.1", port))


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 70000)])
def test_an_address_that_cannot_be_is_a_one_line_error(
    sqlite_url: str, host: str, port: int
) -> None:
    with pytest.raises(ListenError) as raised:
        asyncio.run(server.serve(sqlite_url, host, port))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_exit_code_0(
    sqlite_url: str, number: signal.Signals
) -> None:
    program = (
        "import asyncio, sys; from dice_auth.server import serve;"
        "asyncio.run(serve(sys.argv[1], '127.0.0.1', 0,"
        " ready=lambda *address: print(*address, flush=True)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, sqlite_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("127.0.0.1 ")
        process.send_signal(number)
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()


def test_standard_error_has_json_lines_and_nothing_else(sqlite_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ota_cli", "attest", "serve", "--registry", sqlite_url,
         "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        for sent in (b"nonsense\r\n\r\n", request(PEM, headers=upgrade), request(b"x" * 300_000)):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(sent)
                assert client.recv(65536)
        process.terminate()
        assert process.wait(10) == 0
        events = [json.loads(line)["event"] for line in process.stderr]
    assert events[:4] == ["listening", "bad-request", "bad-request", "refused"]
