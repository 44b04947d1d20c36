"""An agent, boards that speak protocol 2, and an attestation server that says what a test wants."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.running_agent import IMAGE, running_agent, settings_for
from tests.ota_agent.scene import Scene

VERDICT = {
    "device": "24:0a:c4:00:00:01", "hwmodel": "esp32", "application": "thermo",
    "version": "1.0.0", "verdict": "affirming", "claims": "self-asserted",
}  # fmt: skip
EVIDENCE = b"\xd2\x84" + bytes(range(256)) * 3


def http(status: int, kind: str, body: bytes, more: str = "") -> bytes:
    """An answer of the attestation server."""
    head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}\r\n".encode() + body


def verdict(**changes: object) -> bytes:
    members = {key: value for key, value in {**VERDICT, **changes}.items() if value is not None}
    return http(200, "application/json", json.dumps(members).encode())


def refusal(status: int, **members: object) -> bytes:
    body = {"title": "x", "status": status, **members}
    return http(status, "application/problem+json", json.dumps(body).encode())


@dataclass
class ScriptedServer:
    """challenge, attest: what it answers; None: challenges are fresh nonces, and evidence is never
    answered. Protocol 1's question is always answered with yes."""

    challenge: bytes | None = None
    attest: bytes | None = field(default_factory=verdict)
    url: str = ""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    nonces: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None

    def heads(self, path: str) -> list[bytes]:
        """Of the requests for this path."""
        return [head for head, _ in self.requests if f" {path} ".encode() in head]

    def _answer(self, head: bytes) -> bytes | None:
        if head.startswith(b"GET /challenge "):
            if self.challenge is not None:
                return self.challenge
            self.nonces.append(os.urandom(32))
            return http(200, "application/octet-stream", self.nonces[-1])
        if head.startswith(b"POST /attest "):
            return self.attest
        return http(200, "application/json", b'{"status": "Certificate OK"}')

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0] or 0)
                self.requests.append((head, await reader.readexactly(length)))
                self.asked.set()
                if self.gate is not None:
                    await self.gate.wait()
                answer = self._answer(head)
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
                await writer.drain()
                if b"Connection: close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@dataclass
class Response:
    """raw: the head as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        members: dict[str, Any] = json.loads(self.body)
        assert members["status"] == self.status
        return members


class HttpBoard:
    """Protocol 2 over a board's connection."""

    def __init__(self, board: BoardPeer) -> None:
        self.socket = board.socket
        self._received = b""

    def send(self, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: ota-agent", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def response(self, *, has_body: bool = True) -> Response:
        """The next one; EOFError where the agent closes instead."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first.startswith("HTTP/1.1 ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers
            headers[name.lower()] = value
        status = int(first.split(" ")[1])
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return Response(status, headers, body, head + b"\r\n\r\n")

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Response:
        self.send(method, path, *headers, body=body)
        return self.response(has_body=method != "HEAD")

    def challenge(self) -> bytes:
        response = self.ask("GET", "/v2/challenge")
        assert response.status == 200, response
        assert response.headers["content-type"] == "application/octet-stream"
        return response.body

    def attest(self, evidence: bytes = EVIDENCE) -> Response:
        return self.ask(
            "POST", "/v2/attest", "Content-Type: application/eat+cwt", body=evidence
        )  # fmt: skip

    def token(self) -> str:
        """Challenge and evidence, accepted."""
        self.challenge()
        response = self.attest()
        assert response.status == 200, response
        token: str = json.loads(response.body)["token"]
        return token

    def firmware(self, token: str, *headers: str) -> Response:
        return self.ask("GET", "/v2/firmware", f"Authorization: Bearer {token}", *headers)

    def is_closed(self) -> bool:
        """Whether the agent closes now, without a word."""
        try:
            return not self._received and self.socket.recv(1) == b""
        except (ssl.SSLEOFError, ConnectionResetError):
            return True

    def _receive(self) -> None:
        piece = self.socket.recv(65536)
        if not piece:
            raise EOFError(self._received)
        self._received += piece


class AttestedScene(Scene):
    """server: what the test scripts."""

    server: ScriptedServer

    async def talk(self, work: Callable[[HttpBoard], Any], **more: Any) -> Any:
        """Do something with a board that speaks protocol 2."""
        return await self.board(lambda board: work(HttpBoard(board)), **more)


@asynccontextmanager
async def scripted_server(
    script: ScriptedServer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    script.url = f"http://127.0.0.1:{port}" if tls is None else f"https://127.0.0.1:{port}"
    async with server:
        yield script


@asynccontextmanager
async def attested_scene(
    folder: Path, script: ScriptedServer | None = None, **changes: Any
) -> AsyncIterator[AttestedScene]:
    """A running agent with these settings."""
    identity = changes.pop("identity", None) or make_identity(folder / "identity")
    tls = changes.pop("tls", None)
    async with (
        asyncio.timeout(40),
        scripted_server(script or ScriptedServer(), tls) as server,
        running_agent(settings_for(folder, identity, server.url, **changes)) as agent,
    ):
        made = AttestedScene(
            agent, server, identity.certificate, changes.get("image", IMAGE)  # type: ignore[arg-type]
        )  # fmt: skip
        made.server = server
        try:
            yield made
        finally:
            await asyncio.to_thread(made.close)


def dead_url() -> str:
    """Of a server that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
