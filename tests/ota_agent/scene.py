"""An agent, its attestation server and boards, for tests of what boards can do to each other."""

import asyncio
import gc
import os
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ota_agent.session import Session
from tests.ota_agent.attestation_peer import AttestationPeer, attestation_peer, status
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.running_agent import IMAGE, RunningAgent, running_agent, settings_for

T = TypeVar("T")


class Scene:
    """What a test has to do with. context: of boards that trust this agent; image: what it has
    been given to serve."""

    def __init__(
        self, agent: RunningAgent, attestation: AttestationPeer, ca: Path, image: bytes = IMAGE
    ) -> None:
        self.agent = agent
        self.attestation = attestation
        self.ca = ca
        self.context = board_context(ca)
        self.image = image
        # Not the event loop's own threads: the agent needs these.
        self._threads = ThreadPoolExecutor(32)

    async def board(
        self,
        work: Callable[[BoardPeer], T],
        context: ssl.SSLContext | None = None,
        *,
        receive_buffer: int | None = None,
    ) -> T:
        """Do something with a board past its handshake, in a thread."""

        def run() -> T:
            address, of = self.agent.address, context or self.context
            with BoardPeer(address, of, receive_buffer=receive_buffer) as board:
                return work(board)

        return await asyncio.wait_for(self.thread(run), 20)

    async def thread(self, work: Callable[[], T]) -> T:
        """Do something that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Wait for what boards are still doing."""
        self._threads.shutdown()

    async def update(self, presented: bytes, context: ssl.SSLContext | None = None) -> bytes:
        """A whole session: what the board received."""

        def work(board: BoardPeer) -> bytes:
            board.socket.sendall(presented)
            return board.read_all()

        return await self.board(work, context)

    async def serves(self, presented: bytes) -> None:
        """A good board gets the whole image, and the log says so."""
        assert await self.update(presented) == self.image
        line = await self.agent.next_session()
        assert (line["outcome"], line["bytes"]) == ("sent", len(self.image))

    @asynccontextmanager
    async def unharmed(self, presented: bytes) -> AsyncIterator[None]:
        """Whatever is done inside (its session lines taken), afterwards a good board is served,
        no descriptor is open that was not before, and no session is left in memory."""
        await self.serves(presented)
        before, living = self.open_descriptors(), living_sessions()
        yield
        await self.serves(presented)
        for _ in range(10):
            # What the event loop still holds of a session has its turn.
            await asyncio.sleep(0)
        after, left = self.open_descriptors(), living_sessions()
        assert after == before, f"descriptors: {before} before, {after} after"
        assert left <= living, f"sessions: {living} before, {left} after"

    def open_descriptors(self) -> dict[str, int]:
        """What this process has open and how often, but for copies of the firmware and the
        attestation server's connections, which come and go in their own time."""
        kinds: Counter[str] = Counter()
        for entry in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):
                kind = os.readlink(f"/proc/self/fd/{entry}").partition(":")[0]
                if kind == "/memfd" or (kind == "socket" and self._is_attestations(int(entry))):
                    continue
                kinds[kind] += 1
        return kinds

    def _is_attestations(self, descriptor: int) -> bool:
        port = int(self.attestation.url.rpartition(":")[2])
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            for name in (connection.getsockname, connection.getpeername):
                with suppress(OSError):
                    if name()[1:2] == (port,):
                        return True
        return False

    def connect(self, source: str = "") -> socket.socket:
        """Just TCP, from this address."""
        return socket.create_connection(
            self.agent.address, timeout=5, source_address=(source, 0) if source else None
        )


@asynccontextmanager
async def scene(
    folder: Path, answer: bytes | None = status(200), **changes: Any
) -> AsyncIterator[Scene]:
    """A running agent with these settings."""
    identity = changes.pop("identity", None) or make_identity(folder / "identity")
    async with (
        asyncio.timeout(40),
        attestation_peer(answer) as attestation,
        running_agent(settings_for(folder, identity, attestation.url, **changes)) as agent,
    ):
        made = Scene(agent, attestation, identity.certificate, changes.get("image", IMAGE))
        try:
            yield made
        finally:
            await asyncio.to_thread(made.close)


class Turns:
    """count: of this event loop's turns, from `begin` on."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self) -> None:
        self.count += 1
        asyncio.get_running_loop().call_soon(self.begin)


def living_sessions() -> int:
    """Sessions in memory, over or not."""
    return sum(type(each) is Session for each in gc.get_objects())
