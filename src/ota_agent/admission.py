"""Which connections are let in: so many in all, so many of one address, so many a second of one.

No clock here: times are given, in seconds. What is turned away is counted, not logged one by one:
a flood must not fill the log.
"""

from collections import Counter
from ipaddress import IPv6Address

# How many seconds' worth of connections may come at once: a building whose power returns.
_BURST_S = 5.0
# Addresses remembered for their rate before those are forgotten that have been quiet.
_REMEMBERED = 20_000

TOO_MANY = "too-many-connections"
TOO_MANY_OF_ADDRESS = "too-many-of-address"
TOO_FAST = "too-fast"


class Admission:
    """most: connections at once; most_per_address: of one address; rate: new ones a second of
    one address, so that one that floods us shuts out nobody but itself. One address is an IPv4
    address, or an IPv6 network of 64 bits: whoever has one address of such a network has all."""

    def __init__(self, most: int, most_per_address: int, rate: float) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._rate = rate
        self._burst = rate * _BURST_S
        # For each address: tokens left, and when that was.
        self._buckets: dict[str, tuple[float, float]] = {}
        self._inside: dict[str, int] = {}
        self._total = 0
        self.turned_away: Counter[str] = Counter()

    def enter(self, address: str, now: float) -> bool:
        """Whether a connection from this address is let in; each that is has to `leave`.

        address: as the socket gives it.
        """
        address = _counted_as(address)
        of_address = self._inside.get(address, 0)
        if self._total >= self._most:
            reason = TOO_MANY
        elif of_address >= self._most_per_address:
            reason = TOO_MANY_OF_ADDRESS
        elif not self._take_token(address, now):
            reason = TOO_FAST
        else:
            self._total += 1
            self._inside[address] = of_address + 1
            return True
        self.turned_away[reason] += 1
        return False

    def leave(self, address: str) -> None:
        address = _counted_as(address)
        self._total -= 1
        left = self._inside.pop(address) - 1
        if left:
            self._inside[address] = left

    def take_count(self) -> dict[str, int]:
        """Those turned away since this was last asked, by reason."""
        count, self.turned_away = dict(self.turned_away), Counter()
        return count

    def _take_token(self, address: str, now: float) -> bool:
        tokens, then = self._buckets.get(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        if tokens < 1:
            return False
        self._buckets[address] = (tokens - 1, now)
        if len(self._buckets) > _REMEMBERED:
            self._forget_quiet(now)
        return True

    def _forget_quiet(self, now: float) -> None:
        """Addresses whose buckets are full again are as good as new ones."""
        quiet_since = now - _BURST_S
        kept = {a: bucket for a, bucket in self._buckets.items() if bucket[1] > quiet_since}
        # All of them busy: then their rate is forgotten, and the total is what limits them.
        self._buckets = kept if len(kept) < _REMEMBERED else {}


def _counted_as(address: str) -> str:
    """An IPv6 address as its network of 64 bits, on one link if it is local to that (RFC 4291,
    2.5.4); an IPv4 address as it is, also where a socket for both has it in IPv6 (2.5.5.2)."""
    if ":" not in address:
        return address
    parsed = IPv6Address(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{parsed.packed[:8].hex()}%{parsed.scope_id or ''}"
