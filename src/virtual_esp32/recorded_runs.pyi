from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .compat import _Storage
from .flash import Snapshot
from .flash_faults import Fault, FaultyFlash

_T = TypeVar("_T")
_Note = Callable[[str, int], tuple[Any, ...]]

class Operation:
    what: str
    offset: int
    data: bytes | None
    note: Any
    before: Snapshot | None
    def __init__(
        self, what: str, offset: int, data: bytes | None, note: Any, before: Snapshot | None
    ) -> None: ...
    def apply(self, flash: FaultyFlash) -> None: ...

class Outcome(Generic[_T]):
    flash: TapedFlash
    result: _T
    is_cut: bool
    operations: list[Operation]
    def __init__(self, flash: TapedFlash) -> None: ...

class TapedFlash(FaultyFlash):
    tape: list[tuple[Any, ...]] | None
    note: _Note | None
    noted: Any
    misused: bool
    def __init__(self, storage: _Storage) -> None: ...
    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None: ...
    def erase_sector(self, sector: int) -> None: ...
    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None: ...

class Recorder:
    executed: int
    replayed: int
    def __init__(self, remembers: bool = True) -> None: ...
    def run(
        self,
        name: str,
        start: Snapshot,
        program: Callable[[TapedFlash], _T],
        fault: Fault | None = None,
        journal: Callable[[int], bool] | None = None,
    ) -> Outcome[_T]: ...
