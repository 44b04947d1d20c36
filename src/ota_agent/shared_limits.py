"""Limits that hold for all workers of an agent together: how many connections, how many of one
address, how often one comes or asks for a challenge, and the bandwidth.

In shared memory, made before the workers are. What is inside and who shares the bandwidth stands in
a row for each worker, which is cleared when it has died; rates and the bandwidth's next free
moment stand once, for all. Addresses are counted in two places each of a table, by a keyed hash,
and what counts is the lower: two that meet in one place are still told apart by the other.
"""

import fcntl
import hashlib
import mmap
import os
import secrets
import time
from typing import Any

from ota_agent.address_rate import Rate
from ota_agent.admission import BURST_S
from ota_agent.pacing import Pace
from ota_agent.service import CHALLENGE_BURST_S
from ota_agent.settings import Settings

# With 12,000 addresses inside, one in a hundred meets others in both of its places.
_SLOTS = 1 << 18
_COUNT_BYTES = 4
_TIME_BYTES = 8
# Whoever holds the lock needs some microseconds; on a busy machine it may wait for its turn in
# these. Counted in tries, since those that wait may wait for their turn as well: at least 0.1 s.
# If it is still held then, its process was stopped, and the others go on: a limit that is not
# quite exact is better than an agent that stands still.
_TRIES = 1000
_BETWEEN_TRIES_S = 100e-6
# Then for so long nobody waits for it again.
_GIVEN_UP_S = 1.0


class SharedLimits:
    """For so many workers; the owner closes it."""

    def __init__(self, workers: int, settings: Settings) -> None:
        self._settings = settings
        self._key = secrets.token_bytes(16)
        self.lock = _Lock()
        self._tables = mmap.mmap(-1, workers * _SLOTS * _COUNT_BYTES)
        self._of_address = memoryview(self._tables).cast("I")
        self._inside = _memory(workers, _COUNT_BYTES, "I")
        self._sharers = _memory(workers, _COUNT_BYTES, "I")
        self._free_at = _memory(1, _TIME_BYTES, "d")
        self._accept_rate = _memory(_SLOTS, _TIME_BYTES, "d")
        self._challenge_rate = _memory(_SLOTS, _TIME_BYTES, "d")

    def close(self) -> None:
        self.lock.close()

    def worker_died(self, worker: int) -> None:
        """Nobody of those it had let in is inside any more."""
        begin = worker * _SLOTS * _COUNT_BYTES
        self._tables[begin : begin + _SLOTS * _COUNT_BYTES] = bytes(_SLOTS * _COUNT_BYTES)
        self._inside[worker] = self._sharers[worker] = 0

    def tally(self, worker: int) -> "SharedTally":
        """What this worker lets in."""
        rate = self._rate(self._accept_rate, self._settings.accept_rate, BURST_S)
        return SharedTally(self, worker, rate)

    def challenges(self) -> Rate:
        """How often an address may have one."""
        return self._rate(self._challenge_rate, self._settings.challenge_rate, CHALLENGE_BURST_S)

    def pace(self, worker: int) -> Pace | None:
        """The bandwidth of all boards; None without a limit."""
        bandwidth = self._settings.bandwidth
        if bandwidth is None:
            return None
        return _SharedPace(bandwidth, self.lock, self._free_at, self._sharers, worker)

    def places(self, address: str) -> tuple[int, int]:
        """Where an address is counted."""
        digest = hashlib.blake2b(address.encode(), digest_size=8, key=self._key).digest()
        number = int.from_bytes(digest, "little")
        return number % _SLOTS, (number >> 32) % _SLOTS

    def _rate(self, times: "memoryview[float]", rate: float, burst_s: float) -> Rate:
        return _SharedRate(self, times, rate, burst_s)

    # For the tallies

    def inside(self, address: str) -> tuple[int, int]:
        """In all workers, of all addresses and of this one."""
        one, other = self.places(address)
        of_address = min(
            sum(self._of_address[one::_SLOTS].tolist()),
            sum(self._of_address[other::_SLOTS].tolist()),
        )
        return sum(self._inside.tolist()), of_address

    def add(self, worker: int, address: str, change: int) -> None:
        self._inside[worker] += change
        for place in set(self.places(address)):
            self._of_address[worker * _SLOTS + place] += change


class SharedTally:
    """What one worker lets in, among what all do."""

    def __init__(self, limits: SharedLimits, worker: int, rate: Rate) -> None:
        self.rate = rate
        self._limits = limits
        self._worker = worker

    def __enter__(self) -> "SharedTally":
        self._limits.lock.take()
        return self

    def __exit__(self, *error: object) -> None:
        self._limits.lock.give_back()

    def inside(self, address: str) -> tuple[int, int]:
        return self._limits.inside(address)

    def add(self, address: str, change: int) -> None:
        self._limits.add(self._worker, address, change)


class _SharedRate:
    """As AddressRate, for all workers. For each place the time from which on it owes nothing."""

    def __init__(
        self, limits: SharedLimits, times: "memoryview[float]", rate: float, burst_s: float
    ) -> None:
        self._limits = limits
        self._times = times
        self._each_s = 1 / rate
        # Owing more than this, less than one token is left.
        self._most_s = burst_s - self._each_s

    def take(self, address: str, now: float) -> bool:
        one, other = self._limits.places(address)
        times, lock = self._times, self._limits.lock
        lock.take()
        try:
            since = max(now, min(times[one], times[other]))
            if since - now > self._most_s + 1e-9:
                return False
            until = since + self._each_s
            times[one] = max(times[one], until)
            times[other] = max(times[other], until)
            return True
        finally:
            lock.give_back()


class _SharedPace(Pace):
    """A pace whose sharers are in all workers: one of them alone may have all of it."""

    def __init__(
        self,
        bytes_per_s: int,
        lock: "_Lock",
        free_at: "memoryview[float]",
        sharers: "memoryview[int]",
        worker: int,
    ) -> None:
        super().__init__(bytes_per_s)
        self._lock = lock
        self._all_free_at = free_at
        self._all_sharers = sharers
        self._worker = worker

    @property
    def sharers(self) -> int:
        return sum(self._all_sharers.tolist())

    def change_sharers(self, change: int) -> None:
        self._all_sharers[self._worker] += change

    def reserve(self, count: int, now: float) -> float:
        self._lock.take()
        try:
            self._free_at = self._all_free_at[0]
            start = super().reserve(count, now)
            self._all_free_at[0] = self._free_at
            return start
        finally:
            self._lock.give_back()


class _Lock:
    """Held by one process at a time; the kernel takes it back from one that dies (fcntl(2), record
    locks). One thread in each."""

    def __init__(self) -> None:
        self._file = os.memfd_create("limits", os.MFD_CLOEXEC)
        self._depth = 0
        self._given_up_until = 0.0

    def take(self) -> None:
        self._depth += 1
        if self._depth > 1 or self._try():
            return
        if time.monotonic() < self._given_up_until:
            return
        for _ in range(_TRIES):
            time.sleep(_BETWEEN_TRIES_S)
            if self._try():
                return
        self._given_up_until = time.monotonic() + _GIVEN_UP_S

    def _try(self) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def give_back(self) -> None:
        self._depth -= 1
        if not self._depth:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)


def _memory(count: int, size: int, kind: str) -> "memoryview[Any]":
    values: memoryview[Any] = memoryview(mmap.mmap(-1, count * size)).cast(kind)  # type: ignore[call-overload]
    return values
