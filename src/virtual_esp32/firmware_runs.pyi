from collections.abc import Callable
from typing import TypeVar

from esp_image.acceptance import Expected
from esp_partition.table import Partition
from ota_service.session import Session
from ota_service.trust import Trust

from .board import VirtualBoard
from .efuse import EFuse
from .flash import Snapshot
from .flash_faults import Fault
from .partition import VirtualPartition
from .recorded_runs import Outcome, Recorder

_T = TypeVar("_T")
_Journal = Callable[[int], bool] | None

BOOT: str
START: str
CONFIRM: str
UPDATE: str

class Plan:
    name: str
    image: bytes | None
    policy: str
    works: bool
    only_boots: bool
    def __init__(
        self,
        name: str,
        image: bytes | None = None,
        policy: str = "different",
        works: bool = True,
        only_boots: bool = False,
    ) -> None: ...

class Progress:
    stage: str
    passed: bool
    strayed: str | None
    booted: str | None
    confirmed: str | None
    updated: str | None
    crashed: str | None
    def __init__(self) -> None: ...

class Firmware:
    session: type[Session]
    def start(self, board: VirtualBoard) -> None: ...
    def confirm(self, board: VirtualBoard, works: bool) -> str: ...
    def update(
        self, board: VirtualBoard, image: bytes, policy: str, progress: Progress
    ) -> None: ...
    def new_session(self, board: VirtualBoard, policy: str) -> Session: ...
    def find_trust(self, board: VirtualBoard) -> Trust: ...
    def make_session(
        self, board: VirtualBoard, slot: VirtualPartition, expected: Expected, trust: Trust
    ) -> Session: ...
    def transfer(self, session: Session, image: bytes) -> None: ...
    def receive(self, session: Session, image: bytes | memoryview) -> None: ...

class ResumingFirmware(Firmware):
    def __init__(self, step_bytes: int = 65536) -> None: ...

class Bench:
    efuse: EFuse
    rollback: bool
    recorder: Recorder
    start: Snapshot
    partitions: list[Partition]
    otadata: Partition
    apps: list[Partition]
    def __init__(
        self,
        content: bytes,
        efuse: EFuse,
        rollback: bool = True,
        firmware: Firmware | None = None,
        remembers: bool = True,
    ) -> None: ...
    def partition(self, label: str) -> Partition: ...
    def spare(self, label: str) -> str | None: ...
    def boot(
        self, start: Snapshot, fault: Fault | None = None, journal: _Journal = None
    ) -> Outcome[Progress]: ...
    def run(
        self, plan: Plan, start: Snapshot, fault: Fault | None = None, journal: _Journal = None
    ) -> Outcome[Progress]: ...
    def run_on(
        self,
        plan: Plan,
        booted: Outcome[Progress],
        fault: Fault | None = None,
        journal: _Journal = None,
    ) -> Outcome[Progress]: ...
