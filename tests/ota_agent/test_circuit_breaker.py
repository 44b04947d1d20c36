"""When the attestation server is asked again. Times are given, nothing waits."""

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from ota_agent.circuit_breaker import CircuitBreaker

LONGEST_S = 5.0
SEED = 8


def opened(now: float = 0.0) -> CircuitBreaker:
    """One that five failures in a row have opened at this time."""
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(breaker.permit(now), now)
    assert breaker.is_open
    return breaker


def pause_of(breaker: CircuitBreaker, now: float) -> float:
    """Seconds from now to the next permit, found by trying; it takes that permit back."""
    for tenths in range(1000):
        if permit := breaker.permit(now + tenths / 10):
            breaker.gave_up(permit)
            return tenths / 10
    raise AssertionError("never again")


def test_four_failures_in_a_row_do_not_open_it() -> None:
    breaker = CircuitBreaker()
    for _ in range(4):
        breaker.failed(breaker.permit(0), 0)
    assert not breaker.is_open
    assert breaker.permit(0)


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        for _ in range(4):
            breaker.failed(breaker.permit(0), 0)
        breaker.permit(0)
        breaker.succeeded()
    assert not breaker.is_open


def test_the_fifth_opens_it_for_half_a_second_then_one_may_try() -> None:
    breaker = opened(now=10)
    assert not breaker.permit(10.49)
    assert breaker.permit(10.5)
    assert not breaker.permit(10.5)
    assert not breaker.permit(1000)


def test_the_pause_doubles_with_each_failed_try_up_to_five_seconds() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(6):
        pauses.append(pause_of(breaker, now))
        now += pauses[-1]
        breaker.failed(breaker.permit(now), now)
    assert pauses == [0.5, 1, 2, 4, 5, 5]
    assert breaker.failures == 5 + 6


def test_a_try_that_succeeds_closes_it_and_the_next_pause_is_short_again() -> None:
    breaker = opened()
    for now in (1.0, 3.0):
        breaker.failed(breaker.permit(now), now)
    assert breaker.permit(9)
    breaker.succeeded()
    assert breaker.failures == 0
    assert all(breaker.permit(9) for _ in range(100))
    breaker = opened()
    assert pause_of(breaker, 0) == 0.5


def test_what_was_asked_before_it_opened_and_fails_later_is_no_news() -> None:
    """Thirty in flight when the server goes: one pause, not one doubled 25 times."""
    breaker = CircuitBreaker()
    permits = [breaker.permit(0) for _ in range(30)]
    for permit in permits:
        breaker.failed(permit, 1.0)
    assert breaker.failures == 5
    assert pause_of(breaker, 1.0) == 0.5


def test_an_old_failure_or_farewell_does_not_end_the_try_of_another() -> None:
    breaker = CircuitBreaker()
    late, gone = breaker.permit(0), breaker.permit(0)
    for _ in range(5):
        breaker.failed(breaker.permit(0), 0)
    trying = breaker.permit(1)
    assert trying
    breaker.failed(late, 1)
    breaker.gave_up(gone)
    assert not breaker.permit(1)
    breaker.gave_up(trying)
    assert breaker.permit(1)


def test_when_the_one_who_tries_goes_away_the_next_may_try_at_once() -> None:
    breaker = opened()
    for _ in range(3):
        trying = breaker.permit(1)
        assert trying
        breaker.gave_up(trying)
    assert breaker.permit(1)


def test_an_old_success_closes_it_while_another_tries() -> None:
    breaker = CircuitBreaker()
    breaker.permit(0)
    for _ in range(5):
        breaker.failed(breaker.permit(0), 0)
    trying = breaker.permit(1)
    breaker.succeeded()
    assert not breaker.is_open
    # The try was begun after it had opened: it counts, as one.
    breaker.failed(trying, 2)
    assert breaker.failures == 1
    assert breaker.permit(2)


def test_one_who_tried_before_it_closed_and_opened_again_does_not_end_the_new_try() -> None:
    breaker = opened()
    first = breaker.permit(1)
    breaker.succeeded()
    for _ in range(5):
        breaker.failed(breaker.permit(2), 2)
    assert breaker.permit(3)
    breaker.gave_up(first)
    breaker.failed(first, 3)
    assert not breaker.permit(3)


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "succeeded", "failed", "gave_up"]),
        st.integers(0, 20),
        st.floats(0, 3),
    ),
    max_size=60,
)


@seed(SEED)
@settings(max_examples=1000, deadline=None, database=None)
@given(steps)
def test_whatever_happens_one_tries_at_a_time_and_it_never_stays_open(
    history: list[tuple[str, int, float]],
) -> None:
    breaker, now = CircuitBreaker(), 0.0
    asking: list[int] = []
    tries: set[int] = set()  # of the permits given since it last opened or closed
    for what, which, passed in history:
        now += passed
        was_open = breaker.is_open
        if what == "ask":
            permit = breaker.permit(now)
            assert permit or was_open
            if permit:
                asking.append(permit)
                if was_open:
                    assert permit not in tries, "two try at the same time"
                    tries.add(permit)
            continue
        if not asking:
            continue
        permit = asking.pop(which % len(asking))
        if what == "succeeded":
            breaker.succeeded()
            assert not breaker.is_open
        elif what == "failed":
            breaker.failed(permit, now)
        else:
            breaker.gave_up(permit)
        if breaker.is_open:
            tries.discard(permit)
        else:
            tries.clear()
    for permit in asking:
        breaker.gave_up(permit)
    assert breaker.permit(now + LONGEST_S)
