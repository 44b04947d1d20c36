"""The clients of the attestation server's benchmark: keep-alive connections in one program.

A process of its own (`python -m benchmarks._attestation_clients`), so that what it costs is not
the server's. Reads certificates, each with its length before it, from a file; POSTs them in turn,
as fast as answers come or at a rate; prints one JSON object.
"""

import argparse
import json
import selectors
import socket
import sys
import time
from collections import deque
from pathlib import Path


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked_at = 0.0

    def ask(self, request: bytes, now: float) -> None:
        self.asked_at = now
        self.socket.sendall(request)

    def answer(self) -> int:
        """The status. The server writes an answer in one or two pieces of known size."""
        text = self.socket.recv(65536)
        while b"\r\n\r\n" not in text or not text.endswith(b"}"):
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError(f"the server closed after {text!r}")
            text += more
        return int(text[9:12])


def run(options: argparse.Namespace) -> dict[str, object]:
    requests = read_requests(options.requests)
    selector = selectors.DefaultSelector()
    idle: deque[Connection] = deque()
    for _ in range(options.connections):
        connection = Connection(options.port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        idle.append(connection)
    statuses: dict[int, int] = {}
    seconds: list[float] = []
    asked, started = 0, time.perf_counter()
    while len(seconds) < options.total:
        now = time.perf_counter()
        due = options.total
        if options.rate:
            due = min(due, int((now - started) * options.rate) + 1)
        while idle and asked < due:
            # Timed from when it was due: a client that waits for an idle connection waits, too.
            since = started + asked / options.rate if options.rate else now
            idle.popleft().ask(requests[asked % len(requests)], since)
            asked += 1
        for key, _ in selector.select(0.0005 if options.rate and asked < options.total else 1):
            connection = key.data
            status = connection.answer()
            statuses[status] = statuses.get(status, 0) + 1
            seconds.append(time.perf_counter() - connection.asked_at)
            idle.append(connection)
    took = time.perf_counter() - started
    seconds.sort()
    return {
        "per_s": len(seconds) / took,
        "median_ms": seconds[len(seconds) // 2] * 1000,
        "p99_ms": seconds[len(seconds) * 99 // 100] * 1000,
        "statuses": statuses,
    }


def read_requests(path: Path) -> list[bytes]:
    """One POST for each certificate (PEM) of a file written by `write_requests`."""
    requests, content, at = [], path.read_bytes(), 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        pem = content[at + 4 : at + 4 + size]
        at += 4 + size
        head = f"POST / HTTP/1.1\r\nHost: auth\r\nContent-Length: {size}\r\n\r\n"
        requests.append(head.encode() + pem)
    return requests


def write_requests(path: Path, certificates: list[str]) -> None:
    path.write_bytes(b"".join(len(pem).to_bytes(4, "big") + pem.encode() for pem in certificates))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--total", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--rate", type=float, help="a second; default: as fast as answers come")
    json.dump(run(parser.parse_args()), sys.stdout)


if __name__ == "__main__":
    main()
