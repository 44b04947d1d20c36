"""Which connections are let in: so many in all, so many of one address, so many a second of one.

No clock here: times are given, in seconds. What is turned away is counted, not logged one by one:
a flood must not fill the log.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from ota_agent.address_rate import AddressRate, Rate, counted_as

# How many seconds' worth of connections may come at once: a building whose power returns.
BURST_S = 5.0

TOO_MANY = "too-many-connections"
TOO_MANY_OF_ADDRESS = "too-many-of-address"
TOO_FAST = "too-fast"
TURNED_AWAY = (TOO_MANY, TOO_MANY_OF_ADDRESS, TOO_FAST)


class Tally(Protocol):
    """How many are inside, of all processes that share a limit. Held while it is looked at and
    changed, so that no two let somebody in to the same place."""

    rate: Rate

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def inside(self, address: str) -> tuple[int, int]:
        """In all, and of this address."""

    def add(self, address: str, change: int) -> None:
        """One more (1) or one less (-1) is in this process."""


class Admission:
    """most: connections at once; most_per_address: of one address; rate: new ones a second of
    one address, so that one that floods us shuts out nobody but itself. One address is an IPv4
    address, or an IPv6 network of 64 bits: whoever has one address of such a network has all.

    tally: of other processes for which the limits hold as well; most_here: of this one.
    turn_away: called with the reason."""

    def __init__(
        self,
        most: int,
        most_per_address: int,
        rate: float,
        *,
        tally: Tally | None = None,
        most_here: int | None = None,
        turn_away: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._most = most
        self._most_here = most if most_here is None else most_here
        self._most_per_address = most_per_address
        self._tally = tally
        self._turn_away = turn_away
        self._rate = AddressRate(rate, BURST_S) if tally is None else tally.rate
        self._inside: dict[str, int] = {}
        self._total = 0
        self.turned_away: Counter[str] = Counter()

    def enter(self, address: str, now: float) -> bool:
        """Whether a connection from this address is let in; each that is has to `leave`.

        address: as the socket gives it.
        """
        address = counted_as(address)
        if self._tally is None:
            reason = self._try(address, now, self._total, self._inside.get(address, 0))
        else:
            with self._tally:
                reason = self._try(address, now, *self._tally.inside(address))
        if reason:
            self.turned_away[reason] += 1
            self._turn_away(reason)
        return not reason

    def _try(self, address: str, now: float, total: int, of_address: int) -> str:
        """Why it is not let in; empty if it is."""
        if total >= self._most or self._total >= self._most_here:
            return TOO_MANY
        if of_address >= self._most_per_address:
            return TOO_MANY_OF_ADDRESS
        if not self._rate.take(address, now):
            return TOO_FAST
        self._total += 1
        self._inside[address] = self._inside.get(address, 0) + 1
        if self._tally is not None:
            self._tally.add(address, 1)
        return ""

    def leave(self, address: str) -> None:
        address = counted_as(address)
        self._total -= 1
        left = self._inside.pop(address) - 1
        if left:
            self._inside[address] = left
        if self._tally is not None:
            with self._tally:
                self._tally.add(address, -1)

    def take_count(self) -> dict[str, int]:
        """Those turned away since this was last asked, by reason."""
        count, self.turned_away = dict(self.turned_away), Counter()
        return count
