"""`attest serve --workers`: processes that come and go while requests are answered."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dice_auth.registry_url import open_registry
from tests.dice_auth.boards import board
from tests.dice_auth.server_process import COMMAND, ServerProcess, server_process, wait_until
from tests.dice_auth.test_server import request

ENROLLED, STRANGER = board(1), board(2)
WORKERS = 3
ACCEPTED, REFUSED = (f'dice_auth_http_responses_total{{status="{code}"}}' for code in (200, 401))


@pytest.fixture
def url(sqlite_url: str) -> str:
    async def fill() -> None:
        async with open_registry(sqlite_url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)

    asyncio.run(fill())
    return sqlite_url


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(url, tmp_path, "--workers", str(WORKERS)) as server:
        wait_until(lambda: len(server.events("listening")) >= 1, 2)
        wait_until(lambda: len(workers_of(server)) == WORKERS, 2)
        yield server


def workers_of(server: ServerProcess) -> set[int]:
    pid = server.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def has_ended(pid: int) -> bool:
    """Whether it is gone, or dead and waiting for whoever inherited it to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ask_until_answered(server: ServerProcess, body: str) -> int:
    """As a client that tries again when its connection is reset, for as long as that may take."""
    started = time.monotonic()
    while True:
        try:
            return server.ask(body, timeout_s=5)
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() - started < 5


def connect_to_each(server: ServerProcess) -> list[socket.socket]:
    """Connections enough that every worker has some."""
    return [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(40)]


def test_a_worker_that_is_killed_is_replaced_and_counters_go_on(server: ServerProcess) -> None:
    accepted = 0
    for _ in range(60):
        assert server.ask(ENROLLED.pem) == 200
        assert server.ask(STRANGER.pem) == 401
        accepted += 1
    for _ in range(3):
        # Whichever worker answers, it answers for all.
        for _ in range(6):
            counters = server.counters()
            assert counters[ACCEPTED] == accepted
            assert counters[REFUSED] == 60
            accepted += 1  # the answer with the counters
        before = workers_of(server)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        answers = 0
        while len(workers_of(server) - {victim}) < WORKERS or answers < 20:
            assert ask_until_answered(server, ENROLLED.pem) == 200
            answers += 1
        accepted += answers
        # One may have been counted whose answer was lost with the worker.
        found = server.counters()[ACCEPTED]
        assert accepted <= found <= accepted + 1
        accepted = int(found) + 1
        assert before - {victim} < workers_of(server)
    assert len(server.events("worker-died")) == 3


def test_all_workers_killed_at_once_are_replaced(server: ServerProcess) -> None:
    for pid in workers_of(server):
        os.kill(pid, signal.SIGKILL)
    assert ask_until_answered(server, ENROLLED.pem) == 200
    assert ask_until_answered(server, STRANGER.pem) == 401


@pytest.mark.parametrize("to_all", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_after_their_last_answers(
    server: ServerProcess, number: signal.Signals, to_all: bool
) -> None:
    """To all of them, as a terminal and systemd send it; each then hears it twice."""
    workers = workers_of(server)
    sent = request(ENROLLED.pem.encode())
    clients = connect_to_each(server)
    try:
        for client in clients:
            client.sendall(sent[:-1])
        # All are in: whoever connects later is answered after them.
        for _ in range(20):
            assert server.ask(ENROLLED.pem) == 200
        if to_all:
            os.killpg(server.process.pid, number)
        else:
            server.process.send_signal(number)
        wait_until(lambda: not is_listening(server.port), 5)
        for client in clients:
            client.sendall(sent[-1:])
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        for client in clients:
            client.close()
    assert server.process.wait(10) == 0
    assert all(map(has_ended, workers))


def is_listening(port: int) -> bool:
    """Whether any process accepts there; a connection would tell, and would be one to wait for."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(
        fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
        for fields in map(str.split, lines)
    )


def test_workers_end_by_themselves_when_their_parent_is_killed(server: ServerProcess) -> None:
    workers = workers_of(server)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: all(map(has_ended, workers)), 5)
    with pytest.raises(ConnectionRefusedError):
        server.ask(ENROLLED.pem)


def test_an_address_in_use_is_one_line(server: ServerProcess, url: str) -> None:
    for workers in (1, WORKERS):
        done = subprocess.run(
            [COMMAND, "attest", "serve", "--registry", url, "--workers", str(workers),
             "--listen", f"127.0.0.1:{server.port}"],
            capture_output=True, text=True, timeout=10,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == (
            f"ota-service: cannot listen on 127.0.0.1:{server.port}: the port is in use\n"
        )
    assert server.ask(ENROLLED.pem) == 200
