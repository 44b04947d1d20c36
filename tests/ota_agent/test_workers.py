"""`agent --workers`: processes that come and go while boards are updated."""

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.ota_agent.agent_process import (
    COMMAND,
    IMAGE,
    AgentProcess,
    agent_process,
    counters,
    has_ended,
    wait_until,
)
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.conftest import Identity
from tests.ota_agent.images import signed_image

WORKERS = 3
SENT = "ota_agent_sessions_total{outcome=sent,protocol=1}"
NEW = signed_image(size=280_000, version="3.0.0")


@pytest.fixture
def agent(tmp_path: Path, identity: Identity) -> Iterator[AgentProcess]:
    with agent_process(tmp_path, identity, "--workers", WORKERS) as agent:
        wait_for_all(agent)
        yield agent


def wait_for_all(agent: AgentProcess) -> None:
    """Until all workers serve."""
    wait_until(lambda: agent.metrics()["ota_agent_workers_serving"] == WORKERS, 5)


def update_until_answered(agent: AgentProcess, presented: bytes) -> bytes:
    """As a board that tries again when its connection is reset, for as long as that may take."""
    started = time.monotonic()
    while True:
        try:
            return agent.update(presented)
        except OSError:
            assert time.monotonic() - started < 5


def boards_in(
    agent: AgentProcess, count: int, presented: bytes, opened: ExitStack
) -> list[BoardPeer]:
    """Boards in the middle of their updates, in so many different workers."""
    found: dict[int, BoardPeer] = {}
    for _ in range(100):
        board = opened.enter_context(agent.begin_update(presented))
        found.setdefault(agent.worker_of(board), board)
        if len(found) == count:
            break
    else:
        pytest.fail(f"all in {len(found)} workers")
    return list(found.values())


def rest(board: BoardPeer) -> bytes | OSError:
    try:
        return board.read_all()
    except OSError as error:
        return error


def test_all_workers_serve_and_are_added_up(agent: AgentProcess, board_certificate: bytes) -> None:
    with ThreadPoolExecutor(8) as threads:
        received = list(threads.map(agent.update, [board_certificate] * 40))
    assert received == [IMAGE] * 40
    wait_until(lambda: agent.metrics()[SENT] == 40, 5)
    assert {line["worker"] for line in agent.events("session")} == set(range(WORKERS))
    metrics = agent.metrics()
    assert metrics["ota_agent_sent_bytes_total"] == 40 * len(IMAGE)
    assert metrics["ota_agent_session_seconds_count"] == 40
    asked = "ota_agent_attestation_questions_total{question=certificate,result=accepted}"
    assert metrics[asked] == metrics["ota_agent_attestation_seconds_count"] == 40
    assert sum(metrics[f"ota_agent_sessions_open{{state={state}}}"] for state in STATES) == 0
    totals = agent.sessions()["totals"]
    assert (totals["sent"], totals["bytes"]) == (40, 40 * len(IMAGE))
    assert totals["failed"] == totals["refused"] == 0


STATES = ("greeting", "attesting", "conversing", "sending", "parting")


def test_sessions_of_all_workers_are_shown_in_their_order(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    with ExitStack() as opened:
        silent = [opened.enter_context(agent.board()) for _ in range(20)]
        boards_in(agent, WORKERS, board_certificate, opened)
        wait_until(lambda: shown(agent, "sending") >= WORKERS, 5)
        found = agent.sessions()
        assert found["count"] == len(found["sessions"]) >= 20 + WORKERS
        assert {each["worker"] for each in found["sessions"]} == set(range(WORKERS))
        states = [each["state"] for each in found["sessions"]]
        assert states == sorted(states, key=lambda state: state != "sending")
        assert set(states) == {"sending", "greeting"}
        for state in ("sending", "greeting"):
            ages = [each["age_s"] for each in found["sessions"] if each["state"] == state]
            # Each was looked at at its own moment.
            assert all(first > second - 0.1 for first, second in pairwise(ages))
        first = found["sessions"][0]
        assert (first["protocol"], first["firmware"]) == (1, "thermo 2.0.0 esp32")
        assert 0 < first["bytes"] < first["total"] == len(IMAGE)
        assert len(first["board"]) == 40
        peers = {f"127.0.0.1:{board.socket.getsockname()[1]}" for board in silent}
        assert peers < {each["peer"] for each in found["sessions"]}
        few = agent.sessions("?limit=2")
        assert few["count"] == found["count"]
        assert few["sending"] == states.count("sending")
        assert [each["peer"] for each in few["sessions"]] == [
            each["peer"] for each in found["sessions"][:2]
        ]
        assert agent.metrics()["ota_agent_sessions_open{state=greeting}"] == 20


def shown(agent: AgentProcess, state: str) -> int:
    return sum(each["state"] == state for each in agent.sessions()["sessions"])


def test_a_worker_that_is_killed_is_replaced_and_nobody_else_takes_harm(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    for _ in range(10):
        assert agent.update(board_certificate) == IMAGE
    wait_until(lambda: agent.metrics()[SENT] == 10, 5)
    with ExitStack() as opened:
        boards = boards_in(agent, WORKERS, board_certificate, opened)
        victim = agent.worker_of(boards[0])
        before, workers = agent.metrics(), agent.workers()
        os.kill(victim, signal.SIGKILL)
        assert isinstance(rest(boards[0]), OSError)
        # Its address goes on being answered, by its own socket too once it has been replaced.
        wait_until(lambda: agent.metrics()["ota_agent_worker_restarts_total"] == 1, 5)
        wait_for_all(agent)
        for _ in range(40):
            assert update_until_answered(agent, board_certificate) == IMAGE
        after = agent.metrics()
        was = counters(before)
        assert {name: value for name, value in counters(after).items() if value < was[name]} == {}
        assert workers - {victim} < agent.workers()
        for board in boards[1:]:
            assert rest(board) == IMAGE[1:]
    wait_until(lambda: agent.sessions()["count"] == 0, 5)
    gone = {each for each in agent.metrics().items() if "sessions_open" in each[0] and each[1]}
    assert gone == set()
    wait_until(lambda: served_since(agent, victim) == set(range(WORKERS)), 5)
    assert agent.events("worker-died")[0]["status"] == signal.SIGKILL


def served_since(agent: AgentProcess, victim: int) -> set[int]:
    """Which workers have served since that one died."""
    lines = [json.loads(line) for line in agent.log_lines()]
    at = next(at for at, line in enumerate(lines) if line.get("process") == victim)
    return {line["worker"] for line in lines[at:] if line.get("outcome") == "sent"}


def test_all_workers_killed_at_once_are_replaced(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    for pid in agent.workers():
        os.kill(pid, signal.SIGKILL)
    assert update_until_answered(agent, board_certificate) == IMAGE
    assert agent.metrics()["ota_agent_worker_restarts_total"] >= 1


def test_a_worker_that_dies_again_and_again_is_replaced_once_a_second(
    agent: AgentProcess,
) -> None:
    (victim, *_) = agent.workers()
    began = time.monotonic()
    for _ in range(3):
        known = agent.children()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: bool(agent.children() - known), 5)  # noqa: B023
        (victim,) = agent.children() - known
    # The first had lived long enough, or nearly.
    assert time.monotonic() - began > 1.9


def test_workers_end_by_themselves_when_their_parent_is_killed(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    """And finish what they have begun."""
    children = agent.children()
    with ExitStack() as opened:
        boards = boards_in(agent, 2, board_certificate, opened)
        agent.process.kill()
        agent.process.wait()
        wait_until(lambda: is_refused(agent.port), 5)
        assert [rest(board) for board in boards] == [IMAGE[1:]] * 2
    wait_until(lambda: all(map(has_ended, children)), 5)
    assert is_refused(agent.admin)


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_the_admin_process_is_replaced_and_no_board_takes_notice(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    with agent.begin_update(board_certificate) as board:
        victim = agent.admin_process()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: bool(agent.children() - {victim} - agent.workers()), 5)
        assert agent.ask("/healthz")[0] == 200
        assert agent.sessions()["count"] == 1
        assert rest(board) == IMAGE[1:]
    assert agent.metrics()["ota_agent_worker_restarts_total"] == 0


@pytest.mark.parametrize("to_all", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_when_their_boards_are_through(
    agent: AgentProcess, board_certificate: bytes, number: signal.Signals, to_all: bool
) -> None:
    """To all of them, as a terminal and systemd send it: each then hears it twice."""
    children = agent.children()
    with ExitStack() as opened:
        boards = boards_in(agent, 2, board_certificate, opened)
        if to_all:
            os.killpg(agent.process.pid, number)
        else:
            agent.process.send_signal(number)
        wait_until(lambda: is_refused(agent.port), 5)
        wait_until(lambda: '"finishing"' in agent.ask("/healthz")[1], 5)
        assert agent.ask("/healthz")[0] == 503
        assert agent.sessions()["agent"]["is_finishing"]
        assert [rest(board) for board in boards] == [IMAGE[1:]] * 2
        opened.close()
        assert agent.process.wait(10) == 0
    assert all(map(has_ended, children))
    assert "ota-service:" not in agent.log.read_text()


@pytest.mark.parametrize("is_impatient", [True, False])
def test_who_is_cut_off_at_the_end_is_counted(
    tmp_path: Path, identity: Identity, board_certificate: bytes, is_impatient: bool
) -> None:
    """By a second signal, or when the deadline has come."""
    deadline = "30" if is_impatient else "0.3"
    options = ("--workers", WORKERS, "--shutdown-deadline", deadline)
    with agent_process(tmp_path, identity, *options) as agent, ExitStack() as opened:
        wait_for_all(agent)
        boards = boards_in(agent, 2, board_certificate, opened)
        count = agent.sessions()["count"]
        agent.process.terminate()
        wait_until(lambda: is_refused(agent.port), 5)
        if is_impatient:
            agent.process.terminate()
        assert agent.process.wait(5) == 1
        assert f"ota-service: {count} transfers were cut off" in agent.log.read_text()
        assert all(isinstance(rest(board), OSError) for board in boards)


def test_the_admin_process_that_dies_at_the_end_is_not_waited_for(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    with agent.begin_update(board_certificate) as board:
        admin = agent.admin_process()
        agent.process.terminate()
        wait_until(lambda: is_refused(agent.port), 5)
        os.kill(admin, signal.SIGKILL)
        wait_until(lambda: has_ended(admin), 5)
        before = cpu_s(agent.process.pid)
        wait_until(lambda: admin not in agent.children(), 5)
        # Nor is it looked for again and again.
        time.sleep(0.3)
        assert cpu_s(agent.process.pid) - before < 0.1
        assert rest(board) == IMAGE[1:]
    assert agent.process.wait(10) == 0


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_that_hangs_at_the_end_is_not_waited_for_for_ever(
    agent: AgentProcess,
) -> None:
    (victim, *_) = agent.workers()
    os.kill(victim, signal.SIGSTOP)
    agent.process.terminate()
    wait_until(lambda: len(agent.children()) <= 2, 5)
    agent.process.terminate()
    # Nobody was in it.
    assert agent.process.wait(10) == 0
    assert has_ended(victim)


def test_new_firmware_is_served_by_all_workers_and_by_those_that_come_later(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    new = agent.firmware.with_suffix(".new")
    new.write_bytes(NEW)
    new.rename(agent.firmware)
    agent.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(agent.events("firmware-loaded")) >= WORKERS + 1, 5)
    for pid in agent.workers():
        os.kill(pid, signal.SIGKILL)
    # What is there now is no firmware; a new worker is to have the last that was.
    agent.firmware.write_bytes(b"nothing")
    wait_until(lambda: agent.metrics()["ota_agent_worker_restarts_total"] == WORKERS, 5)
    wait_for_all(agent)
    assert [update_until_answered(agent, board_certificate) for _ in range(12)] == [NEW] * 12
    (shown,) = agent.sessions()["firmware"]
    assert (shown["version"], shown["bytes"]) == ("3.0.0", len(NEW))
    failures = "ota_agent_firmware_load_failures_total"
    wait_until(lambda: agent.metrics()[failures] >= 1, 5)


def test_a_worker_that_hangs_is_missing_and_the_others_are_shown(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    with ExitStack() as opened:
        boards = boards_in(agent, WORKERS, board_certificate, opened)
        count = agent.sessions()["count"]
        hung = agent.worker_of(boards[0])
        os.kill(hung, signal.SIGSTOP)
        try:
            # More often than its socket takes questions.
            for _ in range(3):
                began = time.monotonic()
                found = agent.sessions()
                assert time.monotonic() - began < 1.5
                assert found["agent"]["workers_missing"] == 1
                assert 0 < found["count"] < count
            assert agent.ask("/healthz")[0] == 200
            assert agent.metrics()["ota_agent_workers_alive"] == WORKERS
            stalled = "ota_agent_workers_stalled"
            wait_until(lambda: agent.metrics()[stalled] == 1, 10)
        finally:
            os.kill(hung, signal.SIGCONT)
        wait_until(lambda: agent.sessions()["agent"]["workers_missing"] == 0, 5)
        assert rest(boards[0]) == IMAGE[1:]


# Limits that hold for all workers together


def let_in(agent: AgentProcess, count: int, opened: ExitStack, source: str = "127.0.0.1") -> int:
    """How many of so many that connect from this address."""
    open_before, turned_away_before = comings(agent)
    for _ in range(count):
        where = ("127.0.0.1", agent.port)
        opened.enter_context(socket.create_connection(where, 5, source_address=(source, 0)))
    wait_until(lambda: sum(comings(agent)) == open_before + turned_away_before + count, 5)
    return comings(agent)[0] - open_before


def comings(agent: AgentProcess) -> tuple[int, int]:
    """How many are connected now, and how many have been turned away."""
    found = agent.metrics()
    return (
        int(sum(found[f"ota_agent_sessions_open{{state={state}}}"] for state in STATES)),
        int(sum(value for name, value in found.items() if "turned_away" in name)),
    )


@pytest.mark.parametrize(
    ("limit", "reason", "others"),
    [
        ("--max-connections", "too-many-connections", 0),
        ("--max-per-address", "too-many-of-address", 7),
    ],
)
def test_so_many_connections_at_once_in_all_workers(
    tmp_path: Path, identity: Identity, limit: str, reason: str, others: int
) -> None:
    options = ("--workers", WORKERS, limit, 7)
    with agent_process(tmp_path, identity, *options) as agent, ExitStack() as opened:
        wait_for_all(agent)
        assert let_in(agent, 30, opened) == 7
        counted = f"ota_agent_turned_away_total{{reason={reason}}}"
        assert agent.metrics()[counted] == 23
        assert let_in(agent, 10, opened, "127.0.0.2") == others
        # Those of a worker that has died are not inside any more, the others are.
        shown = agent.sessions("?limit=100")["sessions"]
        of_others = sum(each["peer"].startswith("127.0.0.2") for each in shown)
        victim = agent.worker_of_port(int(shown[0]["peer"].rpartition(":")[2]))
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: agent.metrics()["ota_agent_worker_restarts_total"] == 1, 5)
        wait_for_all(agent)
        left = [each["peer"] for each in agent.sessions("?limit=100")["sessions"]]
        inside = sum(peer.startswith("127.0.0.1") for peer in left)
        assert len(left) < 7 + of_others
        assert let_in(agent, 30, opened) == 7 - inside


def test_an_address_may_come_so_often_to_all_workers_together(
    tmp_path: Path, identity: Identity, board_certificate: bytes
) -> None:
    options = ("--workers", WORKERS, "--accept-rate", 2)
    with agent_process(tmp_path, identity, *options) as agent, ExitStack() as opened:
        wait_for_all(agent)
        began = time.monotonic()
        came = let_in(agent, 40, opened, "127.0.0.2")
        assert 10 <= came <= 10 + 2 * (time.monotonic() - began)
        assert agent.update(board_certificate) == IMAGE


def test_one_board_alone_may_have_all_of_the_bandwidth_and_several_share_it(
    tmp_path: Path, identity: Identity, board_certificate: bytes
) -> None:
    rate = 600_000
    options = ("--workers", WORKERS, "--bandwidth", rate)
    with agent_process(tmp_path, identity, *options) as agent:
        wait_for_all(agent)
        # Three times as long where each worker had its third.
        assert 0.9 < timed(lambda: agent.update(board_certificate)) * rate / len(IMAGE) < 2

        def several() -> None:
            with ThreadPoolExecutor(10) as threads:
                received = list(threads.map(agent.update, [board_certificate] * 10))
            assert received == [IMAGE] * 10

        assert 0.9 < timed(several) * rate / (10 * len(IMAGE)) < 1.5
        wait_until(lambda: len(agent.events("session")) == 11, 5)
        lines = agent.events("session")
        assert len({line["worker"] for line in lines[1:]}) > 1
        # And all get the same, in whichever worker they are.
        seconds = [line["seconds"] for line in lines[1:]]
        assert min(seconds) > 0.7 * max(seconds)


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


# Mistakes


def failed(*options: object) -> tuple[int, str]:
    done = subprocess.run(
        [COMMAND, "agent", *map(str, options)], capture_output=True, text=True, timeout=10
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_mistakes_are_said_once_before_there_are_workers(
    agent: AgentProcess, tmp_path: Path, identity: Identity
) -> None:
    files = (
        "--cert", identity.certificate, "--key", identity.key, "--workers", WORKERS,
        "--dice-auth-url", "http://127.0.0.1:9", "--firmware",
    )  # fmt: skip
    good, bad = tmp_path / "firmware.bin", tmp_path / "bad.bin"
    bad.write_bytes(IMAGE[:-1])
    taken, free = f"127.0.0.1:{agent.port}", "127.0.0.1:0"
    code, text = failed(*files, bad, "--listen", free, "--admin", "off")
    assert (code, text.count("\n")) == (1, 1)
    assert text.startswith(f"ota-service: firmware {bad}: ")
    assert failed(*files, good, "--listen", taken, "--admin", "off") == (
        1, f"ota-service: cannot listen on {taken}: the port is in use\n",
    )  # fmt: skip
    admin = f"127.0.0.1:{agent.admin}"
    assert failed(*files, good, "--listen", free, "--admin", agent.admin) == (
        1, f"ota-service: admin port: cannot listen on {admin}: the port is in use\n",
    )  # fmt: skip
    code, text = failed(*files, good, "--workers", "65")
    assert code == 2
    assert "'--workers': 65 is not in the range 1<=x<=64" in text


def test_ssl_is_not_shared_so_that_workers_would_repeat_each_other(
    agent: AgentProcess, board_certificate: bytes
) -> None:
    """Two workers are forked from one process: their TLS randoms are their own."""
    randoms = set()
    for _ in range(12):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = agent.context.wrap_bio(incoming, outgoing, server_hostname="ota-agent")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with socket.create_connection(("127.0.0.1", agent.port), timeout=5) as raw:
            raw.sendall(outgoing.read())
            # Record header 5, handshake header 4, version 2, then the random (RFC 8446, 4.1.3).
            randoms.add(raw.recv(4096)[11:43])
    assert len(randoms) == 12
