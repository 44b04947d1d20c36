"""An agent of protocol 2 that does as it is told: every answer is bytes that a test may choose.

It speaks HTTP by hand, so that it can say what no HTTP server would. Not here: attestation; what a
board sends as evidence is kept for the test to judge.
"""

import base64
import contextlib
import hashlib
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.ota_service import faulty_agents as agents
from tests.ota_service.board_process import Answer, BoardProcess, update

UDS = bytes(range(100, 132))
NONCE = bytes(range(32))
TOKEN = "dG9rZW4.-_~+/=="
CUT = b"<cut>"  # in place of bytes: the connection ends without a close_notify
RESET = b"<reset>"

Request = tuple[str, dict[str, str], bytes]
Reply = Callable[[Request], Iterable[bytes]]


def response(
    status: str, body: bytes = b"", length: int | None = None, **headers: str
) -> list[bytes]:
    """A response; headers: name=value, `_` for `-`; an empty value leaves one out."""
    fields = {"Content-Length": str(len(body) if length is None else length)}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = f"HTTP/1.1 {status}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return [head.encode() + b"\r\n" + body]


def problem(status: str, title: str = "No", detail: str = "", **headers: str) -> list[bytes]:
    """An error as RFC 9457 has it."""
    body = json.dumps({"title": title, "detail": detail}).encode()
    return response(status, body, Content_Type="application/problem+json", **headers)


def digests(image: bytes) -> dict[str, str]:
    """The headers that name an image."""
    digest = hashlib.sha256(image).digest()
    return {
        "ETag": f'"{digest.hex()}"',
        "Repr_Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
    }


def whole(image: bytes, **headers: str) -> Reply:
    """200 with all of it, whatever range was asked for."""
    return lambda request: response("200 OK", image, **{**digests(image), **headers})


def ranged(image: bytes, cut_after: int | None = None, end: bytes = CUT, **headers: str) -> Reply:
    """As it should be: 206 for a range of this very image, else 200. cut_after: the connection ends
    after so many bytes of the body."""

    def reply(request: Request) -> list[bytes]:
        asked = request[1]
        start = 0
        named = digests(image)
        if asked.get("if-range") == named["ETag"] and "range" in asked:
            start = int(asked["range"].removeprefix("bytes=").removesuffix("-"))
        status, fields = "200 OK", {**named}
        if start >= len(image):
            return problem("416 Range Not Satisfiable")
        if start:
            status = "206 Partial Content"
            fields["Content_Range"] = f"bytes {start}-{len(image) - 1}/{len(image)}"
        answer = response(status, image[start:], **{**fields, **headers})[0]
        if cut_after is None:
            return [answer]
        return [answer[: answer.index(b"\r\n\r\n") + 4 + cut_after], end]

    return reply


class Attesting:
    """A behaviour for agents.Agent. requests: all that came, over all connections; raw: the same
    as bytes. Each of challenge, attest and firmware makes the answer to its request; firmware may
    be a list of them, one a request, the last one for all that follow."""

    def __init__(
        self,
        firmware: Reply | list[Reply],
        challenge: Reply | None = None,
        attest: Reply | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._firmware = firmware if isinstance(firmware, list) else [firmware]
        self._replies = {
            "GET /v2/challenge": challenge or (lambda request: response("200 OK", NONCE)),
            "POST /v2/attest": attest or (lambda request: token()),
        }
        self._tls = tls
        self.requests: list[Request] = []
        self.raw: list[bytes] = []

    def named(self, name: str) -> list[Request]:
        """The requests that begin with this."""
        return [request for request in self.requests if request[0].startswith(name)]

    @property
    def evidence(self) -> list[bytes]:
        """What boards proved themselves with."""
        return [body for _, _, body in self.named("POST")]

    @property
    def ranges(self) -> list[str | None]:
        """The ranges that were asked for."""
        return [headers.get("range") for _, headers, _ in self.named("GET /v2/firmware")]

    def __call__(self, connection: socket.socket) -> None:
        secured = (self._tls or agents.good_context()).wrap_socket(connection, server_side=True)
        with secured:
            while request := self._read(secured):
                for piece in self._reply(request):
                    if piece == CUT:
                        return agents.ends(secured)
                    if piece == RESET:
                        return agents.resets(secured)
                    secured.sendall(piece)

    def _read(self, secured: ssl.SSLSocket) -> Request | None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            piece = secured.recv(4096)
            if not piece:
                return None
            raw += piece
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = {}
        for text in lines:
            name, _, value = text.partition(": ")
            headers[name.lower()] = value
        while len(body) < int(headers.get("content-length", "0")):
            piece = secured.recv(4096)
            raw += piece
            body += piece
        self.raw.append(raw)
        self.requests.append((line, headers, body))
        return self.requests[-1]

    def _reply(self, request: Request) -> Iterable[bytes]:
        name = request[0].removesuffix(" HTTP/1.1")
        if name in self._replies:
            return self._replies[name](request)
        assert name == "GET /v2/firmware"
        turn = min(len(self.named(name)), len(self._firmware)) - 1
        return self._firmware[turn](request)


def token(text: str = TOKEN, **more: object) -> list[bytes]:
    """The answer to evidence that was accepted."""
    body = json.dumps({"token": text, "expires_in": 60, **more}).encode()
    return response("200 OK", body, Content_Type="application/json")


@contextlib.contextmanager
def attesting(
    firmware: Reply | list[Reply], **options: Any
) -> Iterator[tuple[Attesting, agents.Agent]]:
    """What is scripted, and the agent that serves it."""
    script = Attesting(firmware, **options)
    with agents.Agent(script) as agent:
        yield script, agent


def attest(board: BoardProcess, old: bytes, agent: str, **options: Any) -> Answer:
    """An update of a provisioned board; options as those of board_process.update. good: (address,
    image) of one that follows over the same protocol."""
    options.setdefault("identity", "provisioned")
    options.setdefault("uds", UDS.hex())
    return update(board, old, agent, **options)
