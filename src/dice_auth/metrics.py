"""What the server counts, for all of its workers together, in the form Prometheus reads.

Each worker counts in a row of its own in shared memory; whichever worker is asked adds the rows
up. A worker that takes a dead one's place goes on in its row, so that no counter goes back.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from dice_auth.appraisal import APPRAISAL_CHECKS
from dice_auth.verification import CHECKS

CONTENT_TYPE = CONTENT_TYPE_LATEST

STATUSES = (
    200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 428, 429, 500, 503,
)  # fmt: skip
ATTESTATION_RESULTS = ("affirming", "refused")
ADMIN_WRITES = ("enrol", "enrol-batch", "change", "remove", "revoke", "reinstate")
ADMIN_REFUSALS = ("transport", "token", "scope", "rate")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_VALUE_BYTES = 8

# The columns of a row
_STATUS_AT = 0
_CHECK_AT = _STATUS_AT + len(STATUSES)
_BUCKET_AT = _CHECK_AT + len(CHECKS)
_SECONDS_AT = _BUCKET_AT + len(_SECONDS) + 1
_FAULTS_AT = _SECONDS_AT + 1
_DROPPED_AT = _FAULTS_AT + 1
_CHALLENGES_AT = _DROPPED_AT + 1
_AGENTS_REFUSED_AT = _CHALLENGES_AT + 1
_RESULT_AT = _AGENTS_REFUSED_AT + 1
_APPRAISAL_CHECK_AT = _RESULT_AT + len(ATTESTATION_RESULTS)
_ADMIN_READS_AT = _APPRAISAL_CHECK_AT + len(APPRAISAL_CHECKS)
_ADMIN_WRITE_AT = _ADMIN_READS_AT + 1
_ADMIN_REFUSAL_AT = _ADMIN_WRITE_AT + len(ADMIN_WRITES)
_COLUMNS = _ADMIN_REFUSAL_AT + len(ADMIN_REFUSALS)

_STATUS_COLUMN = {status: _STATUS_AT + at for at, status in enumerate(STATUSES)}
_CHECK_COLUMN = {check: _CHECK_AT + at for at, check in enumerate(CHECKS)}
_RESULT_COLUMN = {result: _RESULT_AT + at for at, result in enumerate(ATTESTATION_RESULTS)}
_APPRAISAL_CHECK_COLUMN = {
    check: _APPRAISAL_CHECK_AT + at for at, check in enumerate(APPRAISAL_CHECKS)
}
_ADMIN_WRITE_COLUMN = {write: _ADMIN_WRITE_AT + at for at, write in enumerate(ADMIN_WRITES)}
_ADMIN_REFUSAL_COLUMN = {
    refusal: _ADMIN_REFUSAL_AT + at for at, refusal in enumerate(ADMIN_REFUSALS)
}


class Metrics(Collector):
    """workers: how many rows. Made before the workers are; each then takes its row with `of`."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._values = memoryview(mmap.mmap(-1, workers * _COLUMNS * _VALUE_BYTES)).cast("d")
        self._row = self._values[:_COLUMNS]

    def use_row(self, worker: int) -> None:
        """Count as worker number 0, 1, ... from now on."""
        self._row = self._values[worker * _COLUMNS : (worker + 1) * _COLUMNS]

    def count_answer(self, status: int) -> None:
        """status: one of STATUSES."""
        self._row[_STATUS_COLUMN[status]] += 1

    def count_verdict(self, failed: Sequence[str], seconds: float) -> None:
        """failed: names of `verification.CHECKS`. seconds: what the verdict took."""
        for check in failed:
            self._row[_CHECK_COLUMN[check]] += 1
        self._row[_BUCKET_AT + bisect_left(_SECONDS, seconds)] += 1
        self._row[_SECONDS_AT] += seconds

    def count_challenge(self) -> None:
        """One was issued."""
        self._row[_CHALLENGES_AT] += 1

    def count_refused_agent(self) -> None:
        """Somebody who is no agent of ours asked for a challenge, or about evidence."""
        self._row[_AGENTS_REFUSED_AT] += 1

    def count_appraisal(self, failed: Sequence[str]) -> None:
        """A verdict on evidence. failed: names of `appraisal.APPRAISAL_CHECKS`."""
        self._row[_RESULT_COLUMN["refused" if failed else "affirming"]] += 1
        for check in failed:
            self._row[_APPRAISAL_CHECK_COLUMN[check]] += 1

    def count_admin_read(self) -> None:
        """A request to the admin API that changes nothing, by somebody who may."""
        self._row[_ADMIN_READS_AT] += 1

    def count_admin_write(self, action: str) -> None:
        """A change to the registry by the admin API. action: one of ADMIN_WRITES."""
        self._row[_ADMIN_WRITE_COLUMN[action]] += 1

    def count_admin_refusal(self, check: str) -> None:
        """A request to the admin API by somebody who may not. check: one of ADMIN_REFUSALS."""
        self._row[_ADMIN_REFUSAL_COLUMN[check]] += 1

    def count_registry_fault(self) -> None:
        self._row[_FAULTS_AT] += 1

    def count_dropped_observations(self, count: int) -> None:
        self._row[_DROPPED_AT] += count

    def exposition(self) -> bytes:
        """All metrics as text, of type CONTENT_TYPE."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        total = [sum(self._values[at::_COLUMNS]) for at in range(_COLUMNS)]
        answers = CounterMetricFamily(
            "dice_auth_http_responses", "HTTP answers by status", labels=["status"]
        )
        for status, at in _STATUS_COLUMN.items():
            answers.add_metric([str(status)], total[at])
        yield answers
        failed = CounterMetricFamily(
            "dice_auth_failed_checks",
            "Checks that failed in refused certificates; one refusal may fail several",
            labels=["check"],
        )
        for check, at in _CHECK_COLUMN.items():
            failed.add_metric([check], total[at])
        yield failed
        buckets, below = [], 0.0
        for at, limit in enumerate((*_SECONDS, float("inf"))):
            below += total[_BUCKET_AT + at]
            buckets.append((str(limit) if limit != float("inf") else "+Inf", below))
        yield HistogramMetricFamily(
            "dice_auth_verdict_seconds",
            "Time from a whole request to its verdict",
            buckets=buckets,
            sum_value=total[_SECONDS_AT],
        )
        yield from _of_protocol_2(total)
        yield from _of_admin_api(total)
        yield CounterMetricFamily(
            "dice_auth_registry_faults",
            "Requests the registry could not answer",
            value=total[_FAULTS_AT],
        )
        yield CounterMetricFamily(
            "dice_auth_observations_dropped",
            "Boards seen that were not noted down, because too many waited to be",
            value=total[_DROPPED_AT],
        )


def _of_protocol_2(total: Sequence[float]) -> Iterable[Metric]:
    yield CounterMetricFamily(
        "dice_auth_challenges", "Challenges issued", value=total[_CHALLENGES_AT]
    )
    yield CounterMetricFamily(
        "dice_auth_agents_refused",
        "Requests for challenges or about evidence by nobody known as an agent",
        value=total[_AGENTS_REFUSED_AT],
    )
    results = CounterMetricFamily(
        "dice_auth_attestations", "Verdicts on evidence", labels=["verdict"]
    )
    for result, at in _RESULT_COLUMN.items():
        results.add_metric([result], total[at])
    yield results
    failed = CounterMetricFamily(
        "dice_auth_attestation_failed_checks",
        "Checks that failed in refused evidence; one refusal may fail several",
        labels=["check"],
    )
    for check, at in _APPRAISAL_CHECK_COLUMN.items():
        failed.add_metric([check], total[at])
    yield failed


def _of_admin_api(total: Sequence[float]) -> Iterable[Metric]:
    yield CounterMetricFamily(
        "dice_auth_admin_reads",
        "Requests to the admin API that change nothing",
        value=total[_ADMIN_READS_AT],
    )
    writes = CounterMetricFamily(
        "dice_auth_admin_writes", "Changes made by the admin API", labels=["action"]
    )
    for action, at in _ADMIN_WRITE_COLUMN.items():
        writes.add_metric([action], total[at])
    yield writes
    refusals = CounterMetricFamily(
        "dice_auth_admin_refused",
        "Requests to the admin API that were not let in",
        labels=["check"],
    )
    for check, at in _ADMIN_REFUSAL_COLUMN.items():
        refusals.add_metric([check], total[at])
    yield refusals
