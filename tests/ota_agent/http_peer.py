"""A server that does as the test tells it, and what the attestation client asks of it; in the end
every slot is there, and no socket, task or timer."""

import asyncio
import os
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ota_agent.http_pool import Exchange, HttpPool

Result = tuple[int, str]


class Link:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        """Of the next request, which has no body."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """The body of the next request."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)\r\n", head)
        assert length is not None
        return await self._reader.readexactly(int(length[1]))

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)

    async def send_apart(self, pieces: list[bytes]) -> None:
        """Each piece is read by the client before the next is sent."""
        for piece in pieces:
            if not self._writer.transport.is_closing():
                self.send(piece)
                await turns(3)

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def closed(self) -> bytes:
        """What still came before the client closed."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""


class Peer:
    def __init__(self) -> None:
        self.url = ""
        self._links: asyncio.Queue[Link] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self) -> Link:
        return await self._links.get()

    async def asked(self) -> Link:
        """The next connection, its request read."""
        link = await self.accept()
        await link.request()
        return link

    @property
    def has_more_links(self) -> bool:
        return not self._links.empty()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._links.put_nowait(Link(reader, writer))

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.connected, "127.0.0.1", 0, ssl=tls)
    peer.url = url_of(server.sockets[0])
    if tls is not None:
        peer.url = peer.url.replace("http:", "https:")
    async with server:
        try:
            yield peer
        finally:
            peer.close()


def url_of(listener: Any) -> str:
    """Of a socket, or of what asyncio gives out for one."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full_listener() -> Iterator[str]:
    """One that drops whoever wants to connect, as a host that is gone does."""
    with socket.socket() as listener, socket.socket() as only:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        only.connect(listener.getsockname())
        yield url_of(listener)


class Asked:
    """One exchange and what came of it; a second answer to it would be an error of the loop's."""

    def __init__(self, pool: HttpPool, body: bytes = b"pem") -> None:
        self._result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.exchange: Exchange = pool.post(body, self._set)

    def _set(self, status: int, failure: str) -> None:
        self._result.set_result((status, failure))

    @property
    def is_answered(self) -> bool:
        return self._result.done()

    async def result(self) -> Result:
        return await self._result

    async def status(self) -> int:
        status, failure = await self._result
        assert failure == ""
        return status

    async def failure(self) -> str:
        status, failure = await self._result
        assert status == 0
        assert failure
        return failure


async def turns(count: int) -> None:
    """Of the event loop: what loopback and the kernel have is then delivered."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0)


async def until_closed(peer: "Peer", before: set[str]) -> None:
    """Until no descriptor is open that was not open before; the peer's side has to close too."""
    while not open_descriptors() <= before:
        peer.close()
        await asyncio.sleep(0)


def slots(pool: HttpPool) -> int:
    """Those there are: unused, or with a connection that is there or being made."""
    return pool._unused + len(pool._connections) + len(pool._connecting)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def timers() -> list[asyncio.TimerHandle]:
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def run(scenario: Awaitable[None]) -> None:
    """To its end; what asyncio would only log is a failure."""

    async def watched() -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, each: problems.append(each))
        async with asyncio.timeout(10):
            await scenario
        assert problems == []

    asyncio.run(watched())


Scenario = Callable[[Peer, HttpPool], Awaitable[None]]


def with_pool(most: int = 1) -> Callable[[Scenario], Callable[[], None]]:
    """Make it a test, run in a `scene`. Tests with parameters make their scene themselves."""

    def decorate(scenario: Scenario) -> Callable[[], None]:
        def test() -> None:
            async def whole() -> None:
                async with scene(most) as (peer, pool):
                    await scenario(peer, pool)

            run(whole())

        test.__name__ = test.__qualname__ = getattr(scenario, "__name__", "test")
        test.__doc__ = scenario.__doc__
        return test

    return decorate


@asynccontextmanager
async def scene(most: int = 1, tls: ssl.SSLContext | None = None) -> AsyncIterator[Any]:
    """A peer and a pool; in the end all slots are there, and no socket, task or timer."""
    async with listening(tls) as peer:
        before = open_descriptors(), len(asyncio.all_tasks()), len(timers())
        pool = HttpPool(peer.url, most)
        yield peer, pool
        assert slots(pool) == most
        pool.close()
        await until(lambda: pool._unused == most and not pool._connecting)
        await until_closed(peer, before[0])
        assert len(asyncio.all_tasks()) <= before[1]
        assert len(timers()) <= before[2]
