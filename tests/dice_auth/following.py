"""A registry as a server has it: it follows what others write, and knows what was there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry


@asynccontextmanager
async def followed(url: str) -> AsyncIterator[Registry]:
    caught_up = asyncio.Event()
    async with open_registry(url) as registry:
        task = asyncio.create_task(registry.follow(caught_up.set))
        try:
            async with asyncio.timeout(5):
                await caught_up.wait()
            yield registry
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
