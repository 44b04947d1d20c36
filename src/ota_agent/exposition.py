"""The agent's metrics as Prometheus reads them: names, texts and labels for what is counted.

docs/agent.md has them in a table. What differs between processes and cannot be added up (which
firmware, until when the certificate is good) was found by asking the workers.
"""

import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ota_agent.admission import TURNED_AWAY
from ota_agent.asking import Findings
from ota_agent.counts import (
    OUTCOMES,
    PROTOCOLS,
    QUESTION_SECONDS,
    QUESTIONS,
    RESULTS,
    SESSION_SECONDS,
    STATES,
    Counts,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(counts: Counts, findings: Findings, version: str) -> bytes:
    """As text, of type CONTENT_TYPE. version: the agent's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Agent(counts, findings, version))
    return generate_latest(registry)


class _Agent(Collector):
    def __init__(self, counts: Counts, findings: Findings, version: str) -> None:
        self._counts = counts
        self._findings = findings
        self._version = version

    def collect(self) -> Iterable[Metric]:
        yield from self._of_sessions()
        yield from self._of_attestation()
        yield from self._of_files()
        yield from self._of_processes()

    def _of_sessions(self) -> Iterable[Metric]:
        counts = self._counts
        sessions = GaugeMetricFamily(
            "ota_agent_sessions_open", "Boards that are connected, by what they are at",
            labels=["state"],
        )  # fmt: skip
        for state, value in zip(STATES, counts.totals("state"), strict=True):
            sessions.add_metric([state], value)
        yield sessions
        ended = CounterMetricFamily(
            "ota_agent_sessions", "Sessions that have ended, by protocol and outcome",
            labels=["protocol", "outcome"],
        )  # fmt: skip
        values = iter(counts.totals("sessions"))
        for protocol in PROTOCOLS:
            for outcome in OUTCOMES:
                ended.add_metric([str(protocol or "none"), outcome], next(values))
        yield ended
        yield _histogram(
            "ota_agent_session_seconds", "From connection to end of sessions with outcome sent",
            SESSION_SECONDS, counts.totals("session_seconds"), counts.total("session_seconds_sum"),
        )  # fmt: skip
        yield _counter(
            "ota_agent_sent_bytes", "Bytes of firmware given to connections", counts.total("bytes")
        )
        turned_away = CounterMetricFamily(
            "ota_agent_turned_away", "Connections closed at once, by the limit that they were over",
            labels=["reason"],
        )  # fmt: skip
        for reason, value in zip(TURNED_AWAY, counts.totals("turned_away"), strict=True):
            turned_away.add_metric([reason], value)
        yield turned_away
        yield _counter(
            "ota_agent_accept_failures",
            "Times that connections could not be accepted, for want of descriptors or memory",
            counts.total("accept_failures"),
        )

    def _of_attestation(self) -> Iterable[Metric]:
        counts = self._counts
        asked = CounterMetricFamily(
            "ota_agent_attestation_questions",
            "Questions to the attestation server, by what was asked and what came of it",
            labels=["question", "result"],
        )
        values = iter(counts.totals("questions"))
        for question in QUESTIONS:
            for result in RESULTS:
                asked.add_metric([question, result], next(values))
        yield asked
        yield _histogram(
            "ota_agent_attestation_seconds",
            "From a question to what came of it, waiting for a turn and retries included",
            QUESTION_SECONDS, counts.totals("question_seconds"),
            counts.total("question_seconds_sum"),
        )  # fmt: skip
        yield _counter(
            "ota_agent_challenges", "Challenges given to boards", counts.total("challenges")
        )
        yield GaugeMetricFamily(
            "ota_agent_circuit_breaker_open",
            "Workers that do not ask the attestation server now, because it has failed",
            value=counts.total("breaker_open"),
        )

    def _of_files(self) -> Iterable[Metric]:
        counts = self._counts
        firmware = InfoMetricFamily("ota_agent_firmware", "Firmware that is served")
        for each in self._findings.firmware:
            labels = {name: each[name] for name in ("chip", "project", "version", "sha256")}
            firmware.add_metric([], labels)
        yield firmware
        yield _counter(
            "ota_agent_firmware_load_failures",
            "Times that a process found firmware it cannot serve, and went on with what it had",
            counts.total("firmware_failures"),
        )
        yield _counter(
            "ota_agent_firmware_pull_failures",
            "Looks at the registry that brought nothing to serve, and published images left out",
            counts.total("pull_failures"),
        )
        expiry = GaugeMetricFamily(
            "ota_agent_certificate_expiry_timestamp_seconds",
            "Until when the agent's certificate is valid, in Unix time",
        )
        if self._findings.certificate_expiry is not None:
            expiry.add_metric([], self._findings.certificate_expiry)
        yield expiry
        yield _counter(
            "ota_agent_certificate_load_failures",
            "Times that a process found a certificate or key it cannot use, and went on with what"
            " it had",
            counts.total("certificate_failures"),
        )

    def _of_processes(self) -> Iterable[Metric]:
        counts = self._counts
        alive, serving, stalled = counts.lives(time.monotonic())
        yield _gauge("ota_agent_workers", "Workers there should be", counts.workers)
        yield _gauge("ota_agent_workers_alive", "Workers there are", alive)
        yield _gauge("ota_agent_workers_serving", "Workers that let boards in", serving)
        yield _gauge(
            "ota_agent_workers_stalled", "Workers that should serve but have had no turn for 5 s",
            stalled,
        )  # fmt: skip
        yield _counter(
            "ota_agent_worker_restarts", "Workers that took the place of one that had died",
            counts.total("restarts"),
        )  # fmt: skip
        yield _gauge(
            "ota_agent_start_time_seconds", "When the agent was started, in Unix time",
            counts.started,
        )  # fmt: skip
        build = InfoMetricFamily("ota_agent_build", "The agent's version")
        build.add_metric([], {"version": self._version})
        yield build


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _histogram(
    name: str, text: str, limits: Sequence[float], counted: Sequence[float], total: float
) -> Metric:
    """counted: how many were up to each limit and above the one before; one more for the rest."""
    buckets, below = [], 0.0
    for limit, count in zip((*map(str, limits), "+Inf"), counted, strict=True):
        below += count
        buckets.append((limit, below))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
