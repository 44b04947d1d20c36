"""Bandwidth limits: when the next bytes may be sent, and how many.

Bytes are reserved ahead, in the order in which they are asked for: nobody is starved, and nobody
has to ask twice. No clock and no timer here; times are the event loop's, in seconds.
"""

from ota_agent.settings import LEAST_BANDWIDTH
from ota_agent.tls_connection import RECORD_BYTES

# Turns are short, so that a board gets something often enough not to think that we are gone: the
# originals' boards give up after 3 s.
_TURN_S = 0.5
_FEWEST_BYTES = 512


class Pace:
    """A rate in bytes a second, shared by those who `reserve`."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._free_at = 0.0
        self._sharers = 0

    @property
    def sharers(self) -> int:
        """How many there are."""
        return self._sharers

    def change_sharers(self, change: int) -> None:
        """One more (1) or one less (-1)."""
        self._sharers += change

    @property
    def turn_bytes(self) -> int:
        """How many bytes one of the sharers should take at a time."""
        fair = int(self._rate * _TURN_S / max(1, self.sharers))
        return min(RECORD_BYTES, max(_FEWEST_BYTES, fair))

    @property
    def has_room(self) -> bool:
        """Whether one more sharer leaves enough to each."""
        return self._rate >= LEAST_BANDWIDTH * (self.sharers + 1)

    def reserve(self, count: int, now: float) -> float:
        """When these bytes may be sent: now, or later."""
        start = max(now, self._free_at)
        self._free_at = start + count / self._rate
        return start


class Pacer:
    """The paces that hold for one board: its own and those it shares."""

    def __init__(self, paces: "tuple[Pace, ...]") -> None:
        self._paces = paces
        for pace in paces:
            pace.change_sharers(1)

    def reserve(self, wanted: int, now: float) -> tuple[int, float]:
        """How many bytes may be sent next, at most as many as wanted, and when."""
        count = min(wanted, *(pace.turn_bytes for pace in self._paces))
        return count, max(pace.reserve(count, now) for pace in self._paces)

    def end(self) -> None:
        """This board takes no more."""
        for pace in self._paces:
            pace.change_sharers(-1)
