"""An attestation server of a few lines, that also answers as none should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class AttestationPeer:
    """answer: raw bytes of the HTTP answer; None: take the request and stay silent.
    gate: answers wait until it is set."""

    answer: bytes | None
    url: str = ""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append((head, await reader.readexactly(length)))
                self.asked.set()
                if self.answer is None:
                    await reader.read()
                    return
                if self.gate is not None:
                    await self.gate.wait()
                writer.write(self.answer)
                await writer.drain()
                if b"close" in self.answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def status(code: int) -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\n{}" % code


@asynccontextmanager
async def attestation_peer(answer: bytes | None) -> AsyncIterator[AttestationPeer]:
    peer = AttestationPeer(answer)
    server = await asyncio.start_server(peer._serve, "127.0.0.1", 0)
    async with server:
        peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield peer
