from typing import Self

from .firmware_runs import Bench, Plan
from .flash import Snapshot

STATE_ERASED: str
STATE_GARBLED: str

class Expectation:
    images: dict[str, bytes]
    fresh: str
    back: str
    must: str | None
    unverified: str | None
    resident: bool
    confirming: bool
    torn: bool
    strayed: str | None
    def __init__(self, images: dict[str, bytes], fresh: str, back: str) -> None: ...
    def copy(self) -> Self: ...

class Verdict:
    state: Snapshot
    problems: list[str]
    known: str | None
    def __init__(self, state: Snapshot) -> None: ...

class Judge:
    def __init__(self, bench: Bench, image: bytes) -> None: ...
    def judge(self, state: Snapshot, expected: Expectation) -> Verdict: ...
    def plan_again(self, label: str, expected: Expectation) -> Plan: ...
