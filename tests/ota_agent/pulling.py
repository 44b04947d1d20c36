"""A puller on its own, for tests of what registries and disks do."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ota_agent.firmware import Trust
from ota_agent.oci_puller import Puller
from ota_agent.oci_reference import parse_reference
from ota_agent.oci_registry import registry_access


def puller_of(reference: str, cache: Path, interval_s: float = 600, **access: Any) -> Puller:
    return Puller(parse_reference(reference), cache, registry_access(**access), interval_s, Trust())


def contents(puller: Puller) -> list[bytes]:
    """What the folder holds that is served."""
    return sorted(each.read_bytes() for each in puller.folder.glob("*.bin"))


class Lines(logging.Handler):
    """The agent's log, as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self._arrived = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(record.getMessage()))
        self._arrived.set()

    async def next(self, event: str) -> dict[str, Any]:
        """The first of this name, taken away with what was before it."""
        async with asyncio.timeout(10):
            while True:
                while self.lines:
                    line = self.lines.pop(0)
                    if line["event"] == event:
                        return line
                self._arrived.clear()
                await self._arrived.wait()


@contextmanager
def logged() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("ota_agent")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
