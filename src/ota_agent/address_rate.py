"""How often somebody at one address may do a thing, so that one that floods us shuts out nobody
but itself. No clock here: times are given."""

from ipaddress import IPv6Address
from typing import Protocol

# Addresses remembered before those are forgotten that have been quiet.
_REMEMBERED = 20_000


class Rate(Protocol):
    """How often, whoever counts it."""

    def take(self, address: str, now: float) -> bool:
        """Whether it may, once more. address: as `counted_as` has it."""


class AddressRate:
    """rate: times a second of one address; burst_s: for so many seconds' worth at once."""

    def __init__(self, rate: float, burst_s: float) -> None:
        self._rate = rate
        self._burst_s = burst_s
        self._burst = rate * burst_s
        # For each address: tokens left, and when that was.
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, address: str, now: float) -> bool:
        """Whether it may, once more. address: as `counted_as` has it."""
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
        quiet_since = now - self._burst_s
        kept = {a: bucket for a, bucket in self._buckets.items() if bucket[1] > quiet_since}
        # All of them busy: then their rate is forgotten, and totals are what limits them.
        self._buckets = kept if len(kept) < _REMEMBERED else {}


def counted_as(address: str) -> str:
    """An IPv6 address as its network of 64 bits, on one link if it is local to that (RFC 4291,
    2.5.4); an IPv4 address as it is, also where a socket for both has it in IPv6 (2.5.5.2)."""
    if ":" not in address:
        return address
    parsed = IPv6Address(address)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{parsed.packed[:8].hex()}%{parsed.scope_id or ''}"
