"""Which connections are let in: so many in all, so many of one address, so many a second of one.

No clock here: times are given, in seconds. What is turned away is counted, not logged one by one:
a flood must not fill the log.
"""

from collections import Counter

from ota_agent.address_rate import AddressRate, counted_as

# How many seconds' worth of connections may come at once: a building whose power returns.
_BURST_S = 5.0

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
        self._rate = AddressRate(rate, _BURST_S)
        self._inside: dict[str, int] = {}
        self._total = 0
        self.turned_away: Counter[str] = Counter()

    def enter(self, address: str, now: float) -> bool:
        """Whether a connection from this address is let in; each that is has to `leave`.

        address: as the socket gives it.
        """
        address = counted_as(address)
        of_address = self._inside.get(address, 0)
        if self._total >= self._most:
            reason = TOO_MANY
        elif of_address >= self._most_per_address:
            reason = TOO_MANY_OF_ADDRESS
        elif not self._rate.take(address, now):
            reason = TOO_FAST
        else:
            self._total += 1
            self._inside[address] = of_address + 1
            return True
        self.turned_away[reason] += 1
        return False

    def leave(self, address: str) -> None:
        address = counted_as(address)
        self._total -= 1
        left = self._inside.pop(address) - 1
        if left:
            self._inside[address] = left

    def take_count(self) -> dict[str, int]:
        """Those turned away since this was last asked, by reason."""
        count, self.turned_away = dict(self.turned_away), Counter()
        return count
