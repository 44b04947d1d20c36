"""What was seen of boards: kept here for some seconds, then written to the registry in one go.

A verdict never waits for it. What a server that is killed had not written yet is lost: it says
when a board was last seen, nothing that a verdict depends on.
"""

import asyncio
import logging
from collections.abc import Callable

from dice_auth.errors import RegistryError
from dice_auth.registry import Observation, Registry
from dice_auth.structured_log import log_event
from dice_auth.verification import Verdict

WRITE_EVERY_S = 10.0
# More boards than this between two writes: those that come later are left out, and counted.
_MOST_BOARDS = 100_000


class Observations:
    """registry: where they are written. on_dropped(count): told of those left out."""

    def __init__(self, registry: Registry, on_dropped: Callable[[int], None]) -> None:
        self._registry = registry
        self._on_dropped = on_dropped
        self._seen: dict[str, Observation] = {}
        self._is_failing = False

    def note(self, verdict: Verdict, now: int) -> None:
        """Keep a verdict on a board; one that names no board is nobody's. now: seconds, UTC."""
        board_id = verdict.board_id
        if board_id is None:
            return
        earlier = self._seen.get(board_id)
        if earlier is None and len(self._seen) >= _MOST_BOARDS:
            self._on_dropped(1)
            return
        first = earlier.first_seen if earlier else None
        last = earlier.last_seen if earlier else None
        if verdict.accepted:
            first, last = now if first is None else first, now
        self._seen[board_id] = Observation(board_id, verdict.text, first, last)

    async def write_regularly(self) -> None:
        """Until cancelled. A registry that cannot be written is logged once, and tried again."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what there is now; what cannot be written is kept for the next time."""
        if not self._seen:
            return
        writing, self._seen = self._seen, {}
        try:
            await self._registry.record(writing.values())
            self._is_failing = False
        except RegistryError as error:
            if not self._is_failing:
                log_event("observations-not-written", level=logging.WARNING, reason=str(error))
            self._is_failing = True
            self._keep(writing)

    def _keep(self, earlier: dict[str, Observation]) -> None:
        for board_id, observation in earlier.items():
            later = self._seen.get(board_id)
            if later is not None:
                first = observation.first_seen
                self._seen[board_id] = Observation(
                    board_id,
                    later.verdict,
                    later.first_seen if first is None else first,
                    observation.last_seen if later.last_seen is None else later.last_seen,
                )
            elif len(self._seen) < _MOST_BOARDS:
                self._seen[board_id] = observation
            else:
                self._on_dropped(1)
