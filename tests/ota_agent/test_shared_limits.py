"""Limits that hold for several processes together."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent import shared_limits
from ota_agent.admission import TOO_FAST, TOO_MANY, TOO_MANY_OF_ADDRESS, Admission
from ota_agent.pacing import Pace, Pacer
from ota_agent.settings import Settings
from ota_agent.shared_limits import SharedLimits

WORKERS = 3


def settings(**changes: object) -> Settings:
    files = {name: Path(name) for name in ("firmware", "certificate", "key")}
    return Settings(**files, dice_auth_url="http://a", **changes)  # type: ignore[arg-type]


@pytest.fixture
def limits() -> Iterator[SharedLimits]:
    made = SharedLimits(WORKERS, settings(accept_rate=10, challenge_rate=1, bandwidth=10_000))
    yield made
    made.close()


def admissions(
    limits: SharedLimits, most: int, of_address: int, most_here: int = 99
) -> list[Admission]:
    return [
        Admission(most, of_address, 10, tally=limits.tally(worker), most_here=most_here)
        for worker in range(WORKERS)
    ]


def test_so_many_at_once_in_all_and_no_more(limits: SharedLimits) -> None:
    one, two, three = admissions(limits, 3, 9)
    assert [each.enter("a", 0) for each in (one, two, one, three, one)] == [True] * 3 + [False] * 2
    assert (one.take_count(), three.take_count()) == ({TOO_MANY: 1}, {TOO_MANY: 1})
    two.leave("a")
    assert [each.enter("b", 0) for each in (three, two)] == [True, False]


def test_so_many_of_one_address_in_all_and_others_still(limits: SharedLimits) -> None:
    one, two, _ = admissions(limits, 99, 2)
    assert [each.enter("2001:db8::1", 0) for each in (one, two, one)] == [True, True, False]
    assert [each.enter("2001:db8::2", 0) for each in (one, two)] == [False, False]
    assert one.take_count() == {TOO_MANY_OF_ADDRESS: 2}
    assert one.enter("192.0.2.1", 0)
    two.leave("2001:db8::1")
    assert one.enter("2001:db8::1", 0)


def test_one_process_has_no_more_than_it_has_descriptors_for(limits: SharedLimits) -> None:
    one, two, _ = admissions(limits, 99, 99, most_here=2)
    assert [one.enter("a", 0) for _ in range(3)] == [True, True, False]
    assert two.enter("a", 0)


def test_those_of_a_dead_worker_are_not_inside_any_more(limits: SharedLimits) -> None:
    one, two, _ = admissions(limits, 4, 3)
    assert [each.enter("a", 0) for each in (one, one, two, two)] == [True, True, True, False]
    limits.worker_died(0)
    again = admissions(limits, 4, 3)[0]
    assert [each.enter("a", 0) for each in (again, again, two)] == [True, True, False]
    two.leave("a")
    assert again.enter("a", 0)


def test_an_address_that_comes_too_fast_to_all_of_them_shuts_out_itself_alone(
    limits: SharedLimits,
) -> None:
    processes = admissions(limits, 10_000, 10_000)
    now = time.monotonic()
    flood = [processes[at % WORKERS].enter("a", now) for at in range(60)]
    assert flood == [True] * 50 + [False] * 10
    assert sum(each.take_count()[TOO_FAST] for each in processes) == 10
    assert processes[0].enter("b", now)
    assert [each.enter("a", now + 0.2) for each in processes] == [True, True, False]


def test_challenges_are_limited_for_all_together(limits: SharedLimits) -> None:
    processes = [limits.challenges() for _ in range(WORKERS)]
    assert [processes[at % WORKERS].take("a", 5.0) for at in range(11)] == [True] * 10 + [False]
    assert processes[0].take("a", 6.0)
    assert not processes[1].take("a", 6.0)


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, WORKERS - 1), st.floats(0, 1.0)), min_size=1, max_size=100),
)
def test_no_rate_is_passed_however_it_is_spread(
    rate: int, arrivals: list[tuple[int, float]]
) -> None:
    made = SharedLimits(WORKERS, settings(accept_rate=rate))
    processes = [made.tally(worker).rate for worker in range(WORKERS)]
    now, came = 1000.0, []
    for worker, pause in arrivals:
        now += pause
        if processes[worker].take("a", now):
            came.append(now)
        else:
            assert any(
                len(came[at:]) + 1 > 5 * rate + (now - since) * rate - 1e-6
                for at, since in enumerate(came)
            )
        for at, since in enumerate(came):
            assert len(came[at:]) <= 5 * rate + (now - since) * rate + 1e-6
    made.close()


def test_thousands_of_addresses_hardly_ever_count_as_one(limits: SharedLimits) -> None:
    """Which two meet is nobody's to choose: the key is new each time."""
    (process, _, _) = admissions(limits, 10**6, 1, 10**6)
    refused = sum(not process.enter(f"10.{at >> 8}.{at & 255}.1", 0) for at in range(12_000))
    assert refused < 12_000 * 0.02


def test_bandwidth_is_shared_as_if_all_boards_were_in_one_process(limits: SharedLimits) -> None:
    paces = [limits.pace(worker) for worker in range(WORKERS)]
    shared = [Pacer((pace,)) for pace in paces if pace is not None for _ in range(2)]
    alone = Pace(10_000)
    beside = [Pacer((alone,)) for _ in range(2 * WORKERS)]
    for at in range(50):
        now = 100 + at / 20
        mine = shared[at % 6].reserve(10**6, now)
        assert mine == pytest.approx(beside[at % 6].reserve(10**6, now))
    # One in each of the others ends, one worker dies.
    for pacer in (*shared[2:4], shared[4]):
        pacer.end()
    assert paces[0] is not None
    assert paces[0].sharers == 3
    limits.worker_died(2)
    assert paces[0].sharers == 2
    shared[0].end()
    assert shared[1].reserve(10**6, 999.0)[0] == 5000


def test_a_process_that_is_stopped_with_the_lock_does_not_stop_the_others(
    limits: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for it once, a tenth of a second, and then for a second not at all."""
    waits: list[float] = []
    monkeypatch.setattr(shared_limits.time, "sleep", waits.append)
    process, _, _ = admissions(limits, 99, 99)
    child = os.fork()
    if child == 0:
        limits.lock.take()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    try:
        now = time.monotonic()
        for _ in range(50):
            assert process.enter("a", now)
            process.leave("a")
        # Twice, if a second passes meanwhile on a machine that has much to do.
        assert sum(waits) == pytest.approx(0.1) or sum(waits) == pytest.approx(0.2)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_processes_that_let_in_at_the_same_time_let_in_no_more(limits: SharedLimits) -> None:
    """Each until it is full; and the bandwidth's reservations all follow one another."""
    begin, write = os.pipe()
    results, told = os.pipe()
    children = []
    for worker in range(WORKERS):
        child = os.fork()
        if child == 0:
            process = Admission(500, 10**6, 10, tally=_Untimed(limits, worker))
            pace = limits.pace(worker)
            os.read(begin, 1)
            count = sum(process.enter(f"10.0.0.{at % 9}", 0) for at in range(1000))
            for _ in range(200):
                if pace is not None:
                    pace.reserve(1000, 0.0)
            os.write(told, b"%6d" % count)
            os._exit(0)
        children.append(child)
    os.write(write, b"123")
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    assert sum(int(os.read(results, 6)) for _ in children) == 500
    pace = limits.pace(0)
    assert pace is not None
    assert pace.reserve(1, 0.0) == pytest.approx(WORKERS * 200 * 1000 / 10_000)
    for descriptor in (begin, write, results, told):
        os.close(descriptor)


class _Untimed:
    """A tally without a rate."""

    class _Always:
        def take(self, address: str, now: float) -> bool:
            return True

    rate = _Always()

    def __init__(self, limits: SharedLimits, worker: int) -> None:
        tally = limits.tally(worker)
        self.inside, self.add = tally.inside, tally.add
        self._tally = tally

    def __enter__(self) -> object:
        return self._tally.__enter__()

    def __exit__(self, *error: object) -> None:
        self._tally.__exit__(*error)
