"""A registry that says what a test wants, to see what is asked and what is believed."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.ota_agent.registry_peer import INDEX, Image, index_of, sha256


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class ScriptedRegistry:
    """answers: by path, `HEAD PATH` before it; raw bytes, after which the connection is closed.
    token: what Authorization must be, else 401 with this challenge. holds: until it is set, nobody
    is answered."""

    answers: dict[str, bytes] = field(default_factory=dict)
    authorization: str | None = None
    challenge: str = "Basic realm=x"
    authority: str = ""
    heads: list[str] = field(default_factory=list)
    holds: asyncio.Event | None = None

    def publish(self, *images: Image, name: str = "a", tag: str = "1") -> None:
        index = index_of(images)
        kind = f"Content-Type: {INDEX}"
        for path, content in (
            (f"manifests/{tag}", index),
            *((f"manifests/{sha256(each.manifest)}", each.manifest) for each in images),
            *((f"blobs/{sha256(of)}", of) for each in images for of in (*each.layers, each.config)),
        ):
            digest = f"Docker-Content-Digest: {sha256(content)}"
            self.answers[f"/v2/{name}/{path}"] = http(200, content, kind, digest)

    def asked(self, path: str) -> list[str]:
        """The heads of requests whose path begins so."""
        return [head for head in self.heads if head.split(" ")[1].startswith(path)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self.holds is not None:
                await self.holds.wait()
            writer.write(self._answer(head))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _answer(self, head: str) -> bytes:
        method, path, _ = head.split(" ", 2)
        needs_login = self.authorization is not None and path.startswith("/v2/")
        if needs_login and f"Authorization: {self.authorization}\r\n".lower() not in head.lower():
            return http(401, b"", f"WWW-Authenticate: {self.challenge}")
        found = self.answers.get(f"{method} {path}", self.answers.get(path.partition("?")[0]))
        if found is None:
            return http(404)
        if method == "HEAD":
            return found.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        return found


@asynccontextmanager
async def scripted_registry(
    script: ScriptedRegistry, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedRegistry]:
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    script.authority = f"localhost:{port}"
    async with server:
        yield script
