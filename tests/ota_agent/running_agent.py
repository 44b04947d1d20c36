"""The agent on a free port of the loopback interface, with its log lines."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ota_agent.server import serve
from ota_agent.settings import Settings
from tests.ota_agent.conftest import Identity
from tests.ota_agent.images import signed_image

IMAGE = signed_image()


@dataclass
class RunningAgent:
    address: tuple[str, int]
    task: "asyncio.Task[None]"
    sessions: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)
    events: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)

    async def next_session(self) -> dict[str, Any]:
        """The log line of the next session that ends."""
        return await asyncio.wait_for(self.sessions.get(), 5)

    async def next_event(self) -> dict[str, Any]:
        """The next log line that is no session's."""
        return await asyncio.wait_for(self.events.get(), 5)

    def events_so_far(self) -> list[str]:
        """The names of those lines that nobody has waited for, taken away."""
        return [self.events.get_nowait()["event"] for _ in range(self.events.qsize())]


class _Lines(logging.Handler):
    def __init__(self, agent: RunningAgent) -> None:
        super().__init__()
        self._agent = agent

    def emit(self, record: logging.LogRecord) -> None:
        line = json.loads(record.getMessage())
        is_session = line["event"] == "session"
        (self._agent.sessions if is_session else self._agent.events).put_nowait(line)


def settings_for(
    directory: Path, identity: Identity, url: str, *, image: bytes = IMAGE, **changes: Any
) -> Settings:
    firmware = directory / "firmware.bin"
    firmware.write_bytes(image)
    return Settings(
        firmware=changes.pop("firmware", firmware),
        certificate=identity.certificate,
        key=identity.key,
        dice_auth_url=url,
        port=0,
        **{"host": "127.0.0.1", "closing_timeout_s": 1.0, **changes},
    )


@asynccontextmanager
async def running_agent(settings: Settings) -> AsyncIterator[RunningAgent]:
    listening: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(settings, ready=lambda *address: listening.set_result(address))
    )
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    agent = RunningAgent(listening.result(), task)
    handler = _Lines(agent)
    logger = logging.getLogger("ota_agent")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield agent
    finally:
        logger.removeHandler(handler)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
