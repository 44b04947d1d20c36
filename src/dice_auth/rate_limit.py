"""How often somebody may do something: a bucket of tokens for each, with bounded memory."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_KEYS = 10_000


class RateLimit:
    """per_s: how many in the long run. burst: how many at once, at least 1. now: seconds, of a
    clock that is not set.

    Of more than 10,000 keys those asked about longest ago are forgotten, and begin anew.
    """

    def __init__(
        self, per_s: float, burst: float, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = max(1.0, burst)
        self._now = now
        # When each bucket is full again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> int:
        """0 if it may be done now, and is counted; else after how many seconds it may be."""
        now = self._now()
        full_at = max(self._full_at.get(key, now), now) + 1 / self._per_s
        wait_s = full_at - now - self._burst / self._per_s
        if wait_s > 1e-9:
            return math.ceil(wait_s)
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > _MOST_KEYS:
            self._full_at.popitem(last=False)
        return 0
