"""What the admin port tells about the agent: /healthz, /metrics, /sessions."""

import asyncio
import json
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qs

from ota_agent.asking import Findings, Source
from ota_agent.counts import SENDING, Counts

PATHS = ("/healthz", "/metrics", "/sessions")
DEFAULT_LIMIT = 1000
MOST_LIMIT = 20_000
_DISTRIBUTION = "esp32-ota-service"
# What the boards' own process may spend on this: a tenth of a core, half a second at once. Who asks
# for more waits, so many at a time.
_SHARE = 0.1
_MOST_SAVED_S = 0.5
_MOST_WAITING = 56
# Measured, for one session.
_LINE_S = 10e-6

# The rate of all transfers is one over so long at least: bytes are counted once in a second or so.
_RATE_OVER_S = 3.0

# Status, media type, body.
Page = tuple[int, str, bytes]


class BadQuery(ValueError):
    """A query that cannot be answered; its text says what was expected."""


class Busy(Exception):
    """Too many are waiting."""


class Budget:
    """Time that may be spent, which comes back slowly. No clock here: times are given."""

    def __init__(self) -> None:
        self._saved_s = _MOST_SAVED_S
        self._then = 0.0

    def wait_s(self, now: float) -> float:
        """How long until some is there again; 0 if it is."""
        self._saved_s = min(_MOST_SAVED_S, self._saved_s + (now - self._then) * _SHARE)
        self._then = now
        return max(0.0, -self._saved_s / _SHARE)

    def spend(self, seconds: float) -> None:
        """It may be more than there is."""
        self._saved_s -= seconds


class Throughput:
    """How fast a count grows, from when it was looked at. No clock here: times are given."""

    def __init__(self) -> None:
        # The last two looks that are far enough apart: when, and what the count was.
        self._older: tuple[float, float] | None = None
        self._newer: tuple[float, float] | None = None

    def rate(self, now: float, count: float) -> float | None:
        """In a second, over the last seconds; None before it can be known."""
        if self._newer is None or now - self._newer[0] >= _RATE_OVER_S:
            self._older, self._newer = self._newer, (now, count)
        if self._older is None:
            return None
        then, before = self._older
        return (count - before) / (now - then)


class AdminPages:
    """counts: of all workers. source: whom to ask for what is not counted. where: the address that
    boards connect to."""

    def __init__(self, counts: Counts, source: Source, where: tuple[str, int]) -> None:
        self._counts = counts
        self._source = source
        self._where = where
        self._budget = Budget()
        self._turn = asyncio.Lock()
        self._waiting = 0
        # What was last found, for how many sessions, and when that began.
        self._findings = Findings()
        self._limit = -1
        self._began = 0.0
        self._version = version(_DISTRIBUTION)
        self._throughput = Throughput()

    async def page(self, path: str, query: str) -> Page:
        """path: one of PATHS. Raises BadQuery, Busy."""
        if path == "/healthz":
            return self._health()
        if path == "/metrics":
            return await self._metrics()
        limit = _limit_of(query)
        return 200, "application/json", self._sessions(await self._find(limit), limit)

    def _health(self) -> Page:
        alive, serving, stalled = self._counts.lives(time.monotonic())
        if self._counts.is_finishing:
            status = "finishing"
        elif serving > stalled:
            status = "ok"
        else:
            status = "stalled" if serving else "starting"
        told = {
            "status": status,
            "workers": self._counts.workers,
            "workers_alive": alive,
            "workers_stalled": stalled,
        }
        body = json.dumps(told).encode() + b"\n"
        return 200 if status == "ok" else 503, "application/json", body

    async def _find(self, limit: int) -> Findings:
        """One after the other, when there is time to spend on it; those who waited meanwhile share
        what was found after they had come. There may be more than the limit. Raises Busy."""
        if self._waiting >= _MOST_WAITING:
            raise Busy
        came = time.monotonic()
        self._waiting += 1
        try:
            async with self._turn:
                if wait_s := self._budget.wait_s(time.monotonic()):
                    await asyncio.sleep(wait_s)
                if self._began < came or self._limit < limit:
                    began = time.monotonic()
                    self._findings = await self._source.ask(limit)
                    self._began, self._limit = began, limit
                    self._budget.spend(_LINE_S * len(self._findings.lines))
                return self._findings
        finally:
            self._waiting -= 1

    async def _metrics(self) -> Page:
        findings = await self._find(0)
        # Not at the start of the agent: it takes long.
        from ota_agent.exposition import CONTENT_TYPE, exposition

        began = time.perf_counter()
        body = exposition(self._counts, findings, self._version)
        self._budget.spend(time.perf_counter() - began)
        return 200, CONTENT_TYPE, body

    def _sessions(self, findings: Findings, limit: int) -> bytes:
        began = time.perf_counter()
        host, port = self._where
        head: dict[str, Any] = {
            "agent": {
                "host": host,
                "port": port,
                "version": self._version,
                "workers": self._counts.workers,
                "workers_missing": findings.missing,
                "started": _iso(self._counts.started),
                "is_finishing": self._counts.is_finishing,
            },
            "firmware": findings.firmware,
            "totals": self._counts.by_outcome(),
            "count": findings.sessions,
            "sending": int(self._counts.totals("state")[SENDING]),
        }
        rate = self._throughput.rate(time.monotonic(), self._counts.total("bytes"))
        if rate is not None:
            head["bytes_per_s"] = round(rate, 1)
        lines = b",\n".join(line for _, _, line in findings.lines[:limit])
        body = json.dumps(head).encode()[:-1] + b', "sessions": [' + lines + b"]}\n"
        self._budget.spend(time.perf_counter() - began)
        return body


def _limit_of(query: str) -> int:
    try:
        values = parse_qs(query, keep_blank_values=True, max_num_fields=8).get("limit")
    except ValueError as error:
        raise BadQuery(f"not a query: {error}") from None
    if values is None:
        return DEFAULT_LIMIT
    text = values[-1]
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise BadQuery(f"limit: expected a number from 0 to {MOST_LIMIT}, found {text!r}")
    return min(int(text), MOST_LIMIT)


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
