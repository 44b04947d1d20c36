"""Clients that ask a server in this process again and again while something happens to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.dice_auth.test_server import Address, exchange, read_answer, request


@dataclass
class Answers:
    """statuses: of all answers so far, in their order."""

    statuses: list[int] = field(default_factory=list)

    def since(self, at: int) -> set[int]:
        return set(self.statuses[at:])

    async def next(self, count: int = 1) -> set[int]:
        """The statuses of answers to requests that begin from now on."""
        begin = len(self.statuses) + 1  # the one under way began before
        while len(self.statuses) < begin + count:
            await asyncio.sleep(0.001)
        return self.since(begin)


async def ask(address: Address, body: str) -> int:
    """One request on a connection of its own. A 503 says when to come back."""
    status, _, headers, _ = await exchange(address, request(body.encode()))
    assert status != 503 or int(headers["retry-after"]) > 0
    return status


@asynccontextmanager
async def asking(address: Address, body: str) -> AsyncIterator[Answers]:
    """One connection, request after request; the answers until the block ends."""
    answers = Answers()
    reader, writer = await asyncio.open_connection(*address)

    async def keep_asking() -> None:
        while True:
            writer.write(request(body.encode()))
            status, _, headers, _ = await read_answer(reader)
            assert status != 503 or int(headers["retry-after"]) > 0
            answers.statuses.append(status)

    task = asyncio.create_task(keep_asking())
    try:
        yield answers
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError), outcome


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float) -> float:
    """Seconds until the condition held."""
    started = time.monotonic()
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - started


async def answered(address: Address, body: str, status: int, within_s: float) -> float:
    """Wait until this is the answer; the seconds it took. Until then only 503 is allowed."""

    async def is_so() -> bool:
        found = await ask(address, body)
        assert found in (status, 503), found
        return found == status

    return await eventually(is_so, within_s)
