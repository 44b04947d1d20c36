"""The agent's admin port: what it answers, and what it bears."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ota_agent.admin_host import is_loopback, names_loopback
from ota_agent.admin_pages import Budget, Throughput
from tests.ota_agent.agent_process import (
    COMMAND,
    IMAGE,
    AgentProcess,
    agent_process,
    wait_until,
)
from tests.ota_agent.board_peer import reset
from tests.ota_agent.conftest import make_identity
from tests.ports import free_port

LARGE_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000


@pytest.fixture(scope="module", params=[1, 2], ids=["alone", "with-workers"])
def agent(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    folder = tmp_path_factory.mktemp("agent")
    identity = make_identity(folder / "identity")
    with agent_process(folder, identity, "--workers", request.param) as agent:
        yield agent


def say(agent: AgentProcess, request: bytes) -> bytes:
    """All that is answered, until the agent closes."""
    with socket.create_connection(("127.0.0.1", agent.admin), timeout=10) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def get(path: str, host: str = "localhost") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def test_each_path_is_answered_in_its_form(agent: AgentProcess) -> None:
    for path, kind in (
        ("/healthz", b"application/json"),
        ("/sessions", b"application/json"),
        ("/sessions?limit=5&other=1", b"application/json"),
        ("/metrics", b"text/plain; version=1.0.0; charset=utf-8"),
    ):
        head, _, body = say(agent, get(path)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Type: " + kind + b"\r\n" in head
        assert b"\r\nContent-Length: %d\r\n" % len(body) in head
        assert b"\r\nCache-Control: no-store\r\n" in head
        assert b"\r\nConnection: close" in head
        assert body.endswith(b"\n")


def test_head_is_answered_as_get_without_the_body(agent: AgentProcess) -> None:
    for path in ("/healthz", "/sessions", "/metrics"):
        whole, head = (
            say(agent, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            for method in ("GET", "HEAD")
        )
        assert head.endswith(b"\r\n\r\n")
        assert head.count(b"\r\n\r\n") == 1
        assert [line.split(b":")[0] for line in head.split(b"\r\n")] == [
            line.split(b":")[0] for line in whole.partition(b"\r\n\r\n")[0].split(b"\r\n")
        ] + [b"", b""]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), 404),
        (get("/metrics/"), 404),
        (get("//localhost/metrics"), 404),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 405),
        (b"DELETE /sessions HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 505),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (LARGE_HEAD, 431),
        (get("/sessions?limit=-1"), 400),
        (get("/sessions?limit=many"), 400),
        (get("/sessions?limit="), 400),
        (get("/sessions?" + "a=1&" * 20), 400),
        (get("/metrics", "evil.example"), 421),
        (get("/metrics", "localhost.evil.example"), 421),
        (get("/metrics", "192.0.2.1:4434"), 421),
        (get("/metrics", "[2001:db8::1]"), 421),
        (get("/metrics", "a@localhost"), 421),
        (get("/metrics", ""), 421),
        (get("/metrics", "localhost:4434"), 200),
        (get("/metrics", "LOCALHOST"), 200),
        (get("/metrics", "127.0.0.1:1"), 200),
        (get("/metrics", "[::1]:4434"), 200),
    ],
)
def test_whatever_is_sent_has_an_answer(agent: AgentProcess, request_: bytes, status: int) -> None:
    head, _, body = say(agent, request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    if status != 200:
        assert b"\r\nContent-Type: application/problem+json\r\n" in head
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["detail"]
    assert (b"\r\nAllow: GET, HEAD\r\n" in head) == (status == 405)


def test_a_limit_of_nothing_shows_totals_alone(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    with agent.begin_update(board_certificate) as board:
        found = agent.sessions("?limit=0")
        assert (found["count"], found["sessions"]) == (1, [])
        found = agent.sessions("?limit=99999999")
        assert len(found["sessions"]) == 1
        board.read_all()
    wait_until(lambda: agent.sessions()["count"] == 0, 5)


def test_slow_and_silent_clients_do_not_keep_others_waiting(agent: AgentProcess) -> None:
    """Nor do those that do not read what they asked for."""
    with ExitStack() as opened:
        for number in range(150):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(10)
            client.connect(("127.0.0.1", agent.admin))
            if number % 3:
                client.sendall(b"GET /hea" if number % 3 == 1 else get("/metrics"))
        for path in ("/healthz", "/metrics", "/sessions"):
            began = time.monotonic()
            assert agent.ask(path)[0] == 200
            assert time.monotonic() - began < 3


def test_who_sends_its_request_too_slowly_is_closed(agent: AgentProcess) -> None:
    with socket.create_connection(("127.0.0.1", agent.admin), timeout=10) as client:
        client.sendall(b"GET ")
        began = time.monotonic()
        assert client.recv(1) == b""
        assert 4 < time.monotonic() - began < 7


def test_a_flood_is_felt_by_the_admin_port_alone(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    """Requests without end, resets, and boards that are updated meanwhile."""
    ends = time.monotonic() + 1.5

    def flood(number: int) -> int:
        count = 0
        while time.monotonic() < ends:
            try:
                client = socket.create_connection(("127.0.0.1", agent.admin), timeout=2)
            except OSError:
                continue
            try:
                client.sendall(get(("/metrics", "/sessions", "/healthz")[number % 3]))
                if number % 2:
                    reset(client)
                else:
                    while client.recv(65536):
                        pass
                    count += 1
            except OSError:
                pass
            finally:
                client.close()
        return count

    with ThreadPoolExecutor(12) as threads:
        flooding = [threads.submit(flood, number) for number in range(12)]
        slowest = 0.0
        while time.monotonic() < ends:
            began = time.monotonic()
            assert agent.update(board_certificate) == IMAGE
            slowest = max(slowest, time.monotonic() - began)
        answered = sum(each.result() for each in flooding)
    assert answered > 0
    # Alone it takes some 20 ms; the threads of this test want the processor, too.
    assert slowest < 1
    wait_until(lambda: agent.ask("/healthz")[0] == 200, 5)
    wait_until(lambda: agent.sessions()["count"] == 0, 5)


def test_no_descriptor_is_left_open(agent: AgentProcess) -> None:
    def descriptors() -> dict[int, int]:
        processes = {agent.process.pid} | agent.children()
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in processes}

    agent.metrics()
    before = descriptors()
    for request in (get("/sessions"), b"nonsense", get("/metrics"), LARGE_HEAD):
        for _ in range(20):
            say(agent, request + b"\r\n\r\n")
    # Some that there were may be closed meanwhile: connections to the attestation server.
    wait_until(lambda: all(count <= before[pid] for pid, count in descriptors().items()), 5)


# Where it listens


def start(folder: Path, *options: object) -> "subprocess.Popen[str]":
    identity = make_identity(folder / "identity")
    firmware = folder / "firmware.bin"
    firmware.write_bytes(IMAGE)
    arguments = [
        COMMAND, "agent", "--firmware", firmware, "--cert", identity.certificate,
        "--key", identity.key, "--dice-auth-url", "http://127.0.0.1:9",
        "--listen", "127.0.0.1:0", *options,
    ]  # fmt: skip
    return subprocess.Popen(
        list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def first_lines(folder: Path, *options: object) -> list[dict[str, object]]:
    """What an agent with these options logs until it has listened and was told to end."""
    with start(folder, *options) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        return [json.loads(line) for line in errors.splitlines()]


def takes_default_port(opened: ExitStack) -> bool:
    try:
        opened.enter_context(socket.create_server(("127.0.0.1", 4434)))
    except OSError:
        return False
    return True


def test_the_default_address_is_given_up_if_it_is_taken_and_a_given_one_is_not(
    tmp_path: Path,
) -> None:
    with ExitStack() as opened:
        # Other tests' agents may have it for a moment.
        wait_until(lambda: takes_default_port(opened), 30)
        (line,) = [line for line in first_lines(tmp_path) if line["event"] == "no-admin-port"]
        assert line["reason"] == "cannot listen on 127.0.0.1:4434: the port is in use"
        with start(tmp_path, "--admin", "127.0.0.1:4434") as process:
            out, errors = process.communicate(timeout=10)
        assert (process.returncode, out) == (1, "")
        assert errors == (
            "ota-service: admin port: cannot listen on 127.0.0.1:4434: the port is in use\n"
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_off_is_off(tmp_path: Path, workers: int) -> None:
    lines = first_lines(tmp_path, "--admin", "off", "--workers", workers)
    assert {line["event"] for line in lines} == {"listening"}


def test_an_address_for_others_answers_whatever_its_name_is(tmp_path: Path) -> None:
    port = free_port()
    with start(tmp_path, "--admin", f"0.0.0.0:{port}") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(get("/healthz", "agent.example"))
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        process.terminate()
        process.communicate(timeout=10)


# Pieces


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("localhost.", True), ("localhost:80", True), ("127.1.2.3", True),
        ("[::1]", True), ("[::ffff:127.0.0.1]:1", True), ("::1", False), ("[localhost]", False),
        ("localhost@evil", False), ("evil/localhost", False), ("127.0.0.1.evil", False),
        ("0.0.0.0", False), ("", False), (":80", False), ("localhost:x", False),
        ("127.0.0.1:80:80", False), ("localhost\n", False),
    ],
)  # fmt: skip
def test_which_hosts_name_this_machine(host: str, expected: bool) -> None:
    assert names_loopback(host) == expected


def test_which_addresses_are_this_machines_own() -> None:
    assert [is_loopback(each) for each in ("127.0.0.1", "::1", "0.0.0.0", "::", "192.0.2.1")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_budget_is_spent_at_once_and_comes_back_slowly() -> None:
    budget = Budget()
    assert budget.wait_s(100) == 0
    budget.spend(0.6)
    assert budget.wait_s(100) == pytest.approx(1.0)
    assert budget.wait_s(100.4) == pytest.approx(0.6)
    assert budget.wait_s(101) == pytest.approx(0, abs=1e-9)
    assert budget.wait_s(10_000) == 0
    budget.spend(0.6)
    assert budget.wait_s(10_000) == pytest.approx(1.0)


def test_a_rate_is_over_some_seconds_and_unknown_at_first() -> None:
    throughput = Throughput()
    assert throughput.rate(100, 5_000) is None
    assert throughput.rate(101, 6_000) is None
    assert throughput.rate(104, 9_000) == pytest.approx(1_000)
    assert throughput.rate(105, 9_000) == pytest.approx(800)
    assert throughput.rate(107, 9_000) == pytest.approx(0)
    assert throughput.rate(1_007, 99_000) == pytest.approx(100)
