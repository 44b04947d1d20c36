"""An agent's admin port that answers /sessions with whatever a test wants."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def session(**fields: Any) -> dict[str, Any]:
    """A board that is half served, where the fields do not say otherwise."""
    return {
        "worker": 0, "peer": "192.0.2.1:50123", "board": "thermo-17", "protocol": 2,
        "state": "sending", "firmware": "thermo 2.0.0 ESP32", "bytes": 524_288,
        "total": 1_048_576, "bytes_per_s": 51_200.0, "age_s": 10.2, **fields,
    }  # fmt: skip


def answer(*sessions: dict[str, Any], agent: Any = None, **fields: Any) -> dict[str, Any]:
    """The whole answer; agent: fields of it that are not the usual ones."""
    return {
        "agent": {
            "host": "0.0.0.0", "port": 4433, "version": "0.1.0", "workers": 3,
            "workers_missing": 0, "started": "2026-01-01T00:00:00Z", "is_finishing": False,
            **(agent or {}),
        },
        "firmware": [
            {"chip": "ESP32", "project": "thermo", "version": "2.0.0", "bytes": 1_048_576,
             "sha256": "00" * 32, "is_default": True},
        ],
        "totals": {
            "sent": 1234, "up_to_date": 56, "refused": 7, "failed": 8, "turned_away": 9,
            "bytes": 1_293_942_784,
        },
        "count": len(sessions),
        "sessions": list(sessions),
        **fields,
    }  # fmt: skip


def fleet(count: int) -> dict[str, Any]:
    """So many boards, most of them not yet at their firmware; names and peers of every kind."""
    names = ["thermo-{}", "24:0a:c4:00:00:{:02x}", "factory-7/hall-3/line-12/thermo-{:05}", None]
    peers = ["192.0.2.{}:50123", "[2001:db8:1234:5678:9abc:def0:1234:{:x}]:50123"]
    states = ["greeting", "attesting", "conversing", "parting"]
    sessions = []
    for number in range(count):
        name = names[number % 4]
        fields: dict[str, Any] = {
            "worker": number % 3,
            "board": name and name.format(number % 256),
            "peer": peers[number % 2].format(number % 256),
            "age_s": 5000.0 / (number + 1),
        }
        if number < count // 3:
            fields |= {"bytes": number * 104_857 % 1_048_577, "bytes_per_s": number * 1000.0}
            fields |= {"total": None} if number % 7 == 6 else {}
        else:
            fields |= {"state": states[number % 4], "firmware": None, "protocol": None}
            fields |= {"bytes": 0, "total": None, "bytes_per_s": 0.0}
        sessions.append(session(**fields))
    return answer(*sessions)


class AdminPort:
    """said: the answer, cut to the limit asked for, or bytes as they are. code: its status."""

    def __init__(self, said: Any) -> None:
        self.said = said
        self.code = 200
        self.limits: list[str] = []

    def answer(self, path: str) -> bytes:
        if isinstance(self.said, bytes):
            return self.said
        limit = parse_qs(urlsplit(path).query).get("limit", ["1000000"])[0]
        self.limits.append(limit)
        sessions = self.said["sessions"][: int(limit)]
        return json.dumps({**self.said, "sessions": sessions}).encode()


@contextmanager
def serving(admin: AdminPort, port: int = 0) -> Iterator[str]:
    """Its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = admin.answer(self.path)
            self.send_response(admin.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw_port(said: bytes, pause_s: float = 0) -> Iterator[str]:
    """Takes one connection and says that, byte by byte if there is to be a pause after each."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                for byte in said:
                    connection.sendall(bytes([byte]))
                    if ended.wait(pause_s):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join(10)
