"""Which connections are let in: so many in all, so many per address, so many a second.

No clock here: times are given, in seconds. What is turned away is counted, not logged one by one:
a flood must not fill the log.
"""

from collections import Counter

# How many seconds' worth of connections may come at once: a building whose power returns.
_BURST_S = 5.0

TOO_MANY = "too-many-connections"
TOO_MANY_OF_ADDRESS = "too-many-of-address"
TOO_FAST = "too-fast"


class Admission:
    """most: connections at once; most_per_address: of one address; rate: new ones a second."""

    def __init__(self, most: int, most_per_address: int, rate: float) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._rate = rate
        self._tokens = rate * _BURST_S
        self._filled_at = 0.0
        self._inside: Counter[str] = Counter()
        self._total = 0
        self.turned_away: Counter[str] = Counter()

    def enter(self, address: str, now: float) -> bool:
        """Whether a connection from this address is let in; each that is has to `leave`."""
        reason = self._reason_against(address, now)
        if reason is not None:
            self.turned_away[reason] += 1
            return False
        self._total += 1
        self._inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._total -= 1
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]

    def take_count(self) -> dict[str, int]:
        """Those turned away since this was last asked, by reason."""
        count, self.turned_away = dict(self.turned_away), Counter()
        return count

    def _reason_against(self, address: str, now: float) -> str | None:
        if self._total >= self._most:
            return TOO_MANY
        if self._inside[address] >= self._most_per_address:
            return TOO_MANY_OF_ADDRESS
        filled = self._tokens + (now - self._filled_at) * self._rate
        self._tokens = min(self._rate * _BURST_S, filled)
        self._filled_at = now
        if self._tokens < 1:
            return TOO_FAST
        self._tokens -= 1
        return None
