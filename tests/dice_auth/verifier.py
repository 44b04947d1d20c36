"""Verdicts on request bodies, in process, against a registry that stays open."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import islice

from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry
from dice_auth.verdict_queue import VerdictQueue
from dice_auth.verification import Verdict

NOW = datetime(2026, 6, 1, tzinfo=UTC)
_BATCH_BODIES = 500


class Verifier:
    """A registry with these roots, and verdicts on bodies."""

    def __init__(self, url: str, roots: list[bytes]) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._registry = self._runner.run(self._open(url, roots))

    async def _open(self, url: str, roots: list[bytes]) -> Registry:
        registry = await self._stack.enter_async_context(open_registry(url))
        for number, root in enumerate(roots):
            await registry.enrol(f"board {number}", root)
        return registry

    def __call__(self, body: bytes, now: datetime = NOW) -> Verdict:
        return self._runner.run(VerdictQueue(self._registry).verify(body, now))

    def each(self, bodies: Iterable[bytes]) -> Iterator[Verdict]:
        """The same for very many, some at a time."""
        remaining = iter(bodies)
        while batch := list(islice(remaining, _BATCH_BODIES)):
            yield from self._runner.run(self._batch(batch))

    async def _batch(self, bodies: list[bytes]) -> list[Verdict]:
        queue = VerdictQueue(self._registry)
        return await asyncio.gather(*(queue.verify(body, NOW) for body in bodies))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()
