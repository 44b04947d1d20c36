"""A board over HTTP that answers whatever a test wants it to."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUS: dict[str, Any] = {
    "state": "idle", "received": 0, "total": None, "attempt": 0, "slot": None,
    "running": "ota_0", "confirmed": True, "error": None,
}  # fmt: skip
TAKEN = b"Received update request: About to update (Secure)\n"


class Script:
    """Answers: `before` the POST, then each of `after`, the last for ever.

    taken, code, headers: the answer to POST and DELETE.
    """

    def __init__(
        self,
        *after: Any,
        before: Any = STATUS,
        taken: bytes = TAKEN,
        code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.before = before
        self.after = list(after)
        self.taken = taken
        self.code = code
        self.headers = headers or {}
        self.requests: list[tuple[str, bytes]] = []
        self.heads: list[Message] = []

    def answer(self, method: str, path: str) -> bytes:
        if path == "/info":
            return json.dumps({"application": "thermo", "version": "1"}).encode()
        if method != "GET":
            return self.taken
        if not self.requests:
            value = self.before
        else:
            value = self.after.pop(0) if len(self.after) > 1 else self.after[0]
        return value if isinstance(value, bytes) else json.dumps(value).encode()


@contextmanager
def board(script: Script) -> Iterator[str]:
    """Its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(script.answer("GET", self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = script.answer(self.command, self.path)
            script.requests.append((self.headers["Content-Type"], body))
            script.heads.append(self.headers)
            self._send(answer, script.code, script.headers)

        do_DELETE = do_POST  # noqa: N815

        def _send(
            self, body: bytes, code: int = 200, headers: Mapping[str, str] | None = None
        ) -> None:
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    run: Callable[[], None] = lambda: server.serve_forever(poll_interval=0.01)  # noqa: E731
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def dribbling(piece: bytes, pause_s: float) -> Iterator[str]:
    """The URL of a server that sends a piece of its answer every so often, for ever."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while not ended.wait(pause_s):
                    self.wfile.write(piece)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    try:
        with serving(server) as url:
            try:
                yield url
            finally:
                ended.set()
    finally:
        ended.set()
