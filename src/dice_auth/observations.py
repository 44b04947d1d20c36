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
from dice_auth.verification import Verdict, verdict_text

WRITE_EVERY_S = 10.0
# More boards than this between two writes: those that come later are left out, and counted.
_MOST_BOARDS = 100_000

_Seen = tuple[tuple[str, ...], int | None, int | None, str | None]


class Observations:
    """registry: where they are written. on_dropped(count): told of those left out."""

    def __init__(self, registry: Registry, on_dropped: Callable[[int], None]) -> None:
        self._registry = registry
        self._on_dropped = on_dropped
        # Of each board: the last verdict's failed checks, first and last time of an acceptance, and
        # the version that the last accepted evidence told.
        self._seen: dict[str, _Seen] = {}
        self._is_failing = False

    def note(self, verdict: Verdict, now: int, version: str | None = None) -> None:
        """Keep a verdict on a board; one that names no board is nobody's. now: seconds, UTC.
        version: what accepted evidence tells."""
        board_id = verdict.board_id
        if board_id is None:
            return
        earlier = self._seen.get(board_id)
        if earlier is None and len(self._seen) >= _MOST_BOARDS:
            self._on_dropped(1)
            return
        _, first, last, known_version = earlier or (None, None, None, None)
        if not verdict.failed:
            first, last = now if first is None else first, now
            known_version = known_version if version is None else version
        self._seen[board_id] = verdict.failed, first, last, known_version

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
        observations = [
            Observation(board_id, verdict_text(failed), first, last, version)
            for board_id, (failed, first, last, version) in writing.items()
        ]
        try:
            await self._registry.record(observations)
            self._is_failing = False
        except RegistryError as error:
            if not self._is_failing:
                log_event("observations-not-written", level=logging.WARNING, reason=str(error))
            self._is_failing = True
            self._keep(writing)
        except asyncio.CancelledError:
            # At the end of the server: the last write has these again.
            self._keep(writing)
            raise

    def _keep(self, earlier: dict[str, _Seen]) -> None:
        """What could not be written, joined with what was seen meanwhile."""
        for board_id, (failed, first, last, version) in earlier.items():
            if board_id in self._seen:
                failed, later_first, later_last, later_version = self._seen[board_id]
                first = later_first if first is None else first
                last = last if later_last is None else later_last
                version = version if later_version is None else later_version
            elif len(self._seen) >= _MOST_BOARDS:
                self._on_dropped(1)
                continue
            self._seen[board_id] = failed, first, last, version
