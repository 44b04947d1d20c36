from collections.abc import Iterator

from .efuse import EFuse
from .errors import VirtualBoardError
from .firmware_runs import Bench, Firmware, Plan, Progress
from .flash import Snapshot
from .flash_faults import Fault
from .power_cut_choice import Cut, Depth
from .power_cut_verdict import Verdict
from .recorded_runs import Operation, Outcome

class ProofError(VirtualBoardError): ...

class Phase:
    name: str
    plan: Plan
    start: Snapshot
    first: int
    operations: list[Operation]
    result: Progress
    end: Snapshot
    roles: Roles
    boots_afterwards: str | None
    last_otadata: int
    strayed: int | None
    def __init__(
        self,
        name: str,
        plan: Plan,
        start: Snapshot,
        first: int,
        outcome: Outcome[Progress],
        roles: Roles,
    ) -> None: ...

class Roles:
    old: str
    old_image: bytes
    new: str
    new_image: bytes
    def __init__(self, old: tuple[str, bytes], new: tuple[str, bytes]) -> None: ...

class Proof:
    seed: int
    bench: Bench
    phases: list[Phase]
    def __init__(
        self,
        content: bytes,
        efuse: EFuse,
        image: bytes,
        rollback: bool = True,
        firmware: Firmware | None = None,
        seed: int = 1,
        remembers: bool = True,
    ) -> None: ...
    @property
    def operations(self) -> int: ...
    def cuts(self, depth: Depth) -> Iterator[Cut]: ...
    def phase_of(self, operation: int) -> Phase: ...
    def judge(self, cut: Cut) -> Verdict | None: ...
    def replay(self, cut: Cut) -> Snapshot: ...
    def flash_of(self, state: Snapshot) -> bytes: ...

def struck(operation: Operation, fault: Fault) -> Snapshot: ...
def with_wrong_signature(image: bytes) -> bytes: ...
