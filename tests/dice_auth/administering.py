"""Operators of the admin API: their tokens, a server that has one, what they ask it."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dice_auth.admin_tokens import AdminToken, new_token
from tests.dice_auth.server_process import ServerProcess, server_process

# As often as tests ask that are not about it.
FAST = ("--admin-rate", "10000")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def check(self) -> str:
        """The name of a refusal, which is a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem["status"] == self.status
        assert problem["type"] == "about:blank"
        assert problem["detail"].count("\n") == 0
        name: str = problem["check"]
        return name


class Operator:
    """One who shows this token, over a connection of its own."""

    def __init__(self, port: int, token: str | None, tls: ssl.SSLContext | None = None) -> None:
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._connection = (
            http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            if tls is None
            else http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=tls)
        )

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """body: bytes as they are, or JSON."""
        sent = dict(self._headers) | dict(headers)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent = {"Content-Type": "application/json"} | sent
        self._connection.request(method, "/api/v1" + path, body, sent)
        answer = self._connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def enrol(self, board_id: str, **more: object) -> Answer:
        return self.ask("POST", "/boards", {"id": board_id, **more})

    def change(self, board_id: str, change: object, revision: str = "*") -> Answer:
        return self.ask("PATCH", board_path(board_id), change, {"If-Match": revision})

    def remove(self, board_id: str, **headers: str) -> Answer:
        return self.ask("DELETE", board_path(board_id), headers=headers)

    def revoke(self, board_id: str, reason: str, **headers: str) -> Answer:
        path = board_path(board_id) + "/revocation"
        return self.ask("PUT", path, {"reason": reason}, headers)

    def reinstate(self, board_id: str) -> Answer:
        return self.ask("DELETE", board_path(board_id) + "/revocation")

    def close(self) -> None:
        self._connection.close()


def board_path(board_id: str) -> str:
    return "/boards/" + quote(board_id, safe="")


@dataclass
class Tokens:
    """Two tokens, and the file that has what stands for them."""

    path: Path
    write: str
    read: str

    @classmethod
    def made_in(cls, folder: Path) -> "Tokens":
        (write, ops), (read, viewer) = new_token("ops", "write"), new_token("viewer", "read")
        path = folder / "admin-tokens"
        write_lines(path, ops, viewer)
        return cls(path, write, read)


def write_lines(path: Path, *tokens: AdminToken) -> None:
    path.touch(0o600)
    path.write_text("# operators\n\n" + "".join(f"{token.line}\n" for token in tokens))


@dataclass
class Administered:
    """A server with the admin API."""

    server: ServerProcess
    tokens: Tokens

    @contextmanager
    def operator(self, token: str | None = "") -> Iterator[Operator]:
        """token: empty for the one that may write, None for none."""
        operator = Operator(self.server.port, self.tokens.write if token == "" else token)
        try:
            yield operator
        finally:
            operator.close()


@contextmanager
def administered(url: str, folder: Path, *options: str) -> Iterator[Administered]:
    tokens = Tokens.made_in(folder)
    with server_process(url, folder, "--admin-tokens", str(tokens.path), *options) as server:
        yield Administered(server, tokens)
        assert not server.events("internal-error")
