"""What the agent counts, for all of its workers together.

Each worker counts in a row of its own in shared memory; whoever is asked adds the rows up. A worker
that takes a dead one's place goes on in its row, so that no counter goes back; what is true of the
moment only (gauges) is cleared when a worker has died. `exposition` gives these numbers their
names.
"""

import mmap
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from ota_agent.admission import TURNED_AWAY

PROTOCOLS = (None, 1, 2)
# The last one stands for what is not listed here.
OUTCOMES = (
    "sent", "up-to-date", "refused", "attestation-unavailable", "attestation-required",
    "no-firmware", "unauthorized", "bad-request", "too-many", "request-timeout",
    "handshake-failed", "handshake-timeout", "certificate-timeout", "bad-certificate",
    "unknown-protocol", "closed-by-board", "connection-lost", "transfer-timeout", "too-slow",
    "closing-timeout", "internal-error", "cancelled", "other",
)  # fmt: skip
# What a board is told no for, as opposed to what went wrong.
_REFUSALS = ("refused", "attestation-required", "no-firmware", "unauthorized", "too-many")

STATES = ("greeting", "attesting", "conversing", "sending", "parting")
GREETING, ATTESTING, CONVERSING, SENDING, PARTING = range(len(STATES))

QUESTIONS = ("certificate", "challenge", "evidence")
CERTIFICATE, CHALLENGE, EVIDENCE = range(len(QUESTIONS))
RESULTS = ("accepted", "refused", "unavailable", "not-asked", "withdrawn")
ACCEPTED, REFUSED, UNAVAILABLE, NOT_ASKED, WITHDRAWN = range(len(RESULTS))

SESSION_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
QUESTION_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Whether boards are served, a worker's own word.
ABSENT, SERVING, FINISHING = range(3)
# A worker that has said nothing for so long hangs.
STALLED_S = 5.0

_VALUE_BYTES = 8
# The columns of a row, and how many of each; those from `state` on are gauges.
_COLUMNS = {
    "sessions": len(PROTOCOLS) * len(OUTCOMES),
    "session_seconds": len(SESSION_SECONDS) + 1,
    "session_seconds_sum": 1,
    "bytes": 1,
    "turned_away": len(TURNED_AWAY),
    "questions": len(QUESTIONS) * len(RESULTS),
    "question_seconds": len(QUESTION_SECONDS) + 1,
    "question_seconds_sum": 1,
    "challenges": 1,
    "accept_failures": 1,
    "firmware_failures": 1,
    "pull_failures": 1,
    "certificate_failures": 1,
    "restarts": 1,
    "cut_off": 1,
    "state": len(STATES),
    "breaker_open": 1,
    "life": 1,
    "heartbeat": 1,
}
_AT = dict(zip(_COLUMNS, accumulate(_COLUMNS.values(), initial=0), strict=False))
_WIDTH = sum(_COLUMNS.values())
_GAUGES_AT = _AT["state"]

_SESSION_COLUMN = {
    (protocol, outcome): _AT["sessions"] + row * len(OUTCOMES) + at
    for row, protocol in enumerate(PROTOCOLS)
    for at, outcome in enumerate(OUTCOMES)
}
_TURNED_AWAY_COLUMN = {reason: _AT["turned_away"] + at for at, reason in enumerate(TURNED_AWAY)}
_FAILED_FILE_COLUMN = {
    "firmware-not-loaded": _AT["firmware_failures"],
    "firmware-not-pulled": _AT["pull_failures"],
    "certificate-not-loaded": _AT["certificate_failures"],
}
_SESSION_SECONDS_AT, _SESSION_SECONDS_SUM_AT = _AT["session_seconds"], _AT["session_seconds_sum"]
_QUESTION_SECONDS_AT, _QUESTION_SECONDS_SUM_AT = (
    _AT["question_seconds"], _AT["question_seconds_sum"],
)  # fmt: skip
_BYTES_AT, _STATE_AT, _QUESTIONS_AT = _AT["bytes"], _AT["state"], _AT["questions"]
_BREAKER_AT, _CHALLENGES_AT, _FAILURES_AT = (
    _AT["breaker_open"], _AT["challenges"], _AT["accept_failures"],
)  # fmt: skip
_LIFE_AT, _HEARTBEAT_AT = _AT["life"], _AT["heartbeat"]


class Row:
    """One worker's counts, which nobody else writes but for what is cleared when it is dead.

    values: as many as `Counts` gives; None: of its own, where nobody looks.
    """

    __slots__ = ("_values",)

    def __init__(self, values: "memoryview[float] | None" = None) -> None:
        self._values: memoryview[float] = values if values is not None else Counts().row(0)._values

    def session_began(self) -> None:
        """It is greeting."""
        self._values[_STATE_AT] += 1

    def session_moved(self, before: int, after: int) -> None:
        """From one of STATES to another, by their places."""
        values = self._values
        values[_STATE_AT + before] -= 1
        values[_STATE_AT + after] += 1

    def session_left(self, state: int) -> None:
        self._values[_STATE_AT + state] -= 1

    def session_ended(self, protocol: int | None, outcome: str, seconds: float) -> None:
        """outcome: as the log has it."""
        values = self._values
        at = _SESSION_COLUMN.get((protocol, outcome))
        values[_SESSION_COLUMN[protocol, OUTCOMES[-1]] if at is None else at] += 1
        if outcome == "sent":
            values[_SESSION_SECONDS_AT + bisect_left(SESSION_SECONDS, seconds)] += 1
            values[_SESSION_SECONDS_SUM_AT] += seconds

    def sent_bytes(self, count: int) -> None:
        """So many more bytes of firmware."""
        self._values[_BYTES_AT] += count

    def turned_away(self, reason: str) -> None:
        """reason: one of admission.TURNED_AWAY."""
        self._values[_TURNED_AWAY_COLUMN[reason]] += 1

    def question_ended(self, question: int, result: int, seconds: float | None = None) -> None:
        """One of QUESTIONS, one of RESULTS, by their places. seconds: None where nothing was
        asked, or nobody waited for the answer."""
        values = self._values
        values[_QUESTIONS_AT + question * len(RESULTS) + result] += 1
        if seconds is not None:
            values[_QUESTION_SECONDS_AT + bisect_left(QUESTION_SECONDS, seconds)] += 1
            values[_QUESTION_SECONDS_SUM_AT] += seconds

    def breaker_is(self, *, is_open: bool) -> None:
        self._values[_BREAKER_AT] = is_open

    def challenge_given(self) -> None:
        self._values[_CHALLENGES_AT] += 1

    def accept_failed(self) -> None:
        self._values[_FAILURES_AT] += 1

    def note_event(self, event: str) -> None:
        """As in the log; those that tell of something that cannot be served are counted."""
        at = _FAILED_FILE_COLUMN.get(event)
        if at is not None:
            self._values[at] += 1

    def live(self, life: int, now: float) -> None:
        """life: ABSENT, SERVING or FINISHING. now: of the monotonic clock."""
        self._values[_LIFE_AT] = life
        self._values[_HEARTBEAT_AT] = now

    def beat(self, now: float) -> None:
        """The worker still has its turns."""
        self._values[_HEARTBEAT_AT] = now

    def cut_off(self, count: int) -> None:
        """So many transfers at shutdown."""
        self._values[_AT["cut_off"]] += count


class Counts:
    """Made before the workers are; each then takes its `row`. One more row is for who watches
    them."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        # Of this agent, as time.time has it.
        self.started = time.time()
        self._values = memoryview(mmap.mmap(-1, (workers + 1) * _WIDTH * _VALUE_BYTES)).cast("d")

    def row(self, worker: int) -> Row:
        """Of worker number 0, 1, ...; the one after the last for who watches them."""
        return Row(self._values[worker * _WIDTH : (worker + 1) * _WIDTH])

    def worker_died(self, worker: int, *, is_ending: bool) -> None:
        """What was true of it at the moment is so no more. is_ending: nobody takes its place, and
        the boards it had that had said who they are, are cut off."""
        begin = worker * _WIDTH
        values = self._values
        if is_ending:
            values[begin + _AT["cut_off"]] += sum(self._states(worker)[GREETING + 1 :])
        for at in range(begin + _GAUGES_AT, begin + _WIDTH):
            values[at] = 0.0

    def worker_restarted(self, worker: int) -> None:
        self._values[worker * _WIDTH + _AT["restarts"]] += 1

    def total(self, name: str) -> float:
        """The sum of a column there is one of: `bytes`, `challenges`, `accept_failures`,
        `firmware_failures`, `pull_failures`, `certificate_failures`, `restarts`, `cut_off`,
        `breaker_open`, `session_seconds_sum`, `question_seconds_sum`."""
        return self._sum(_AT[name])

    def totals(self, name: str) -> list[float]:
        """The sums of columns there are several of, each in its order."""
        return [self._sum(at) for at in range(_AT[name], _AT[name] + _COLUMNS[name])]

    def by_outcome(self) -> dict[str, int]:
        """Sessions that have ended, of all protocols; beside them what was turned away."""
        ended = dict.fromkeys(OUTCOMES, 0)
        for (_, outcome), at in _SESSION_COLUMN.items():
            ended[outcome] += int(self._sum(at))
        refused = sum(ended[outcome] for outcome in _REFUSALS)
        good = ended["sent"] + ended["up-to-date"]
        return {
            "sent": ended["sent"],
            "up_to_date": ended["up-to-date"],
            "refused": refused,
            "failed": sum(ended.values()) - good - refused,
            "turned_away": int(sum(self.totals("turned_away"))),
            "bytes": int(self.total("bytes")),
        }

    @property
    def is_finishing(self) -> bool:
        """All workers there are are about to end."""
        alive, serving, _ = self.lives(0.0)
        return bool(alive) and not serving

    def lives(self, now: float) -> tuple[int, int, int]:
        """How many workers there are, how many of them let boards in, and how many of these have
        had no turn for longer than STALLED_S. now: of the monotonic clock."""
        lives = self._values[_LIFE_AT::_WIDTH].tolist()
        beats = self._values[_HEARTBEAT_AT::_WIDTH].tolist()
        serving = [beat for life, beat in zip(lives, beats, strict=True) if life == SERVING]
        stalled = sum(now - beat > STALLED_S for beat in serving)
        return sum(life != ABSENT for life in lives), len(serving), stalled

    def _states(self, worker: int) -> Sequence[int]:
        begin = worker * _WIDTH + _STATE_AT
        return [int(value) for value in self._values[begin : begin + len(STATES)]]

    def _sum(self, at: int) -> float:
        return sum(self._values[at::_WIDTH].tolist())
