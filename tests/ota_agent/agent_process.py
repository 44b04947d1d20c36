"""`ota-service agent` as processes of its own, with its admin port and an attestation server that
says yes."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import Identity
from tests.ota_agent.images import signed_image

COMMAND = Path(sys.executable).parent / "ota-service"
# More than a connection holds with the buffers below.
IMAGE = signed_image(size=300_000)
_BUFFER = 16 * 1024


class _SaysYes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def attestation_server() -> Iterator[str]:
    """Its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _SaysYes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class AgentProcess:
    process: subprocess.Popen[str]
    port: int
    admin: int
    log: Path
    firmware: Path
    context: SSLContext

    # The admin port

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and body. Raises OSError or HTTPException without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def sessions(self, query: str = "") -> dict[str, Any]:
        status, body = self.ask(f"/sessions{query}")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def is_complete(self) -> bool:
        """Whether all of its workers are there."""
        health = json.loads(self.ask("/healthz")[1])
        return bool(health["workers_alive"] == health["workers"])

    def metrics(self) -> dict[str, float]:
        """Name and labels -> value."""
        status, body = self.ask("/metrics")
        assert status == 200, body
        return samples(body)

    # Its processes

    def children(self) -> set[int]:
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def workers(self) -> set[int]:
        """Those that have the boards' port open."""
        return {pid for pid in self.children() if holds(pid, self.port)}

    def admin_process(self) -> int:
        (pid,) = [pid for pid in self.children() if holds(pid, self.admin)]
        return pid

    def worker_of(self, board: BoardPeer) -> int:
        """Which serves this board."""
        return self.worker_of_port(board.socket.getsockname()[1])

    def worker_of_port(self, port: int) -> int:
        """Which serves the board with this port."""
        (pid,) = [pid for pid in self.children() if holds(pid, self.port, port)]
        return pid

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of this event."""
        lines = map(json.loads, filter(lambda line: line[:1] == "{", self.log_lines()))
        return [line for line in lines if line["event"] == name]

    def log_lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    # Boards

    def board(self) -> BoardPeer:
        """Past its handshake; it takes little that it does not read."""
        return BoardPeer(("127.0.0.1", self.port), self.context, receive_buffer=_BUFFER)

    def update(self, presented: bytes) -> bytes:
        with self.board() as board:
            board.socket.sendall(presented)
            return board.read_all()

    def begin_update(self, presented: bytes) -> BoardPeer:
        """A board that has had a byte of its firmware."""
        board = self.board()
        board.socket.sendall(presented)
        assert board.socket.recv(1) == IMAGE[:1]
        return board


@contextmanager
def agent_process(folder: Path, identity: Identity, *options: object) -> Iterator[AgentProcess]:
    """One that serves IMAGE. It is killed at the end if it has not ended by then."""
    firmware, log = folder / "firmware.bin", folder / f"agent-{time.monotonic_ns()}.log"
    firmware.write_bytes(IMAGE)
    with attestation_server() as url, log.open("w") as stderr:
        arguments: list[object] = [
            COMMAND, "agent", "--firmware", firmware, "--cert", identity.certificate,
            "--key", identity.key, "--dice-auth-url", url, "--listen", "127.0.0.1:0",
            "--admin", "0", "--send-buffer", _BUFFER, "--closing-timeout", 1, *options,
        ]  # fmt: skip
        with subprocess.Popen(
            list(map(str, arguments)),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # a signal to its process group is not one to pytest
        ) as process:
            children: set[int] = set()
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert "listening" in line, log.read_text()
                context = board_context(identity.certificate)
                port = int(line.rsplit(":", 1)[1])
                agent = AgentProcess(process, port, 0, log, firmware, context)
                agent.admin = agent.events("admin-listening")[0]["port"]
                children |= agent.children()
                wait_until(agent.is_complete, 10)
                yield agent
                if process.poll() is None:
                    children |= agent.children()
            finally:
                process.kill()
        try:
            # Nobody is left behind, whatever a test has done.
            wait_until(lambda: all(map(has_ended, children)), 5)
        finally:
            for pid in children:
                if not has_ended(pid):
                    os.kill(pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text(), log.read_text()


def samples(text: str) -> dict[str, float]:
    """Of Prometheus's text, by its own parser: name and labels -> value."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def holds(pid: int, local: int, remote: int = 0) -> bool:
    """Whether a process has a socket of this local port open: one that listens, or is connected to
    that remote port."""
    wanted = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(field.rpartition(":")[2], 16) for field in fields[1:3]]
        if ports == [local, remote]:
            wanted.add(f"socket:[{fields[9]}]")
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return False
    for entry in entries:
        try:
            if os.readlink(f"/proc/{pid}/fd/{entry}") in wanted:
                return True
        except FileNotFoundError:
            pass
    return False


def has_ended(pid: int) -> bool:
    """Whether it is gone, or dead and waiting for whoever inherited it to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool], within_s: float) -> float:
    """Seconds until the condition held."""
    started = time.monotonic()
    while not condition():
        passed_s = time.monotonic() - started
        assert passed_s < within_s, f"not so within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - started


def counters(metrics: dict[str, float]) -> dict[str, float]:
    """Of these samples those that may never go back."""
    return {
        name: value
        for name, value in metrics.items()
        if re.search(r"_(total|count|sum|bucket)(\{|$)", name)
    }
