"""An agent, its attestation server and boards, for tests of what boards can do to each other."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.ota_agent.attestation_peer import AttestationPeer, attestation_peer, status
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.running_agent import RunningAgent, running_agent, settings_for

T = TypeVar("T")


class Scene:
    """What a test has to do with. context: of boards that trust this agent."""

    def __init__(self, agent: RunningAgent, attestation: AttestationPeer, ca: Path) -> None:
        self.agent = agent
        self.attestation = attestation
        self.context = board_context(ca)

    async def board(
        self, work: Callable[[BoardPeer], T], context: ssl.SSLContext | None = None
    ) -> T:
        """Do something with a board past its handshake, in a thread."""

        def run() -> T:
            with BoardPeer(self.agent.address, context or self.context) as board:
                return work(board)

        return await asyncio.wait_for(asyncio.to_thread(run), 20)

    async def update(self, presented: bytes, context: ssl.SSLContext | None = None) -> bytes:
        """A whole session: what the board received."""

        def work(board: BoardPeer) -> bytes:
            board.socket.sendall(presented)
            return board.read_all()

        return await self.board(work, context)

    def connect(self) -> socket.socket:
        """Just TCP."""
        return socket.create_connection(self.agent.address, timeout=5)


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
        yield Scene(agent, attestation, identity.certificate)


def open_sockets() -> int:
    """Sockets of this process."""
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
        except OSError:
            continue
    return count
