from collections.abc import Callable
from typing import Protocol, Self

from .compat import _Storage
from .flash import NorFlash, Snapshot

ERASE: str
WRITE: str

class _Source(Protocol):
    def next(self) -> int: ...

class PowerCut(BaseException):
    fault: Fault | None
    def __init__(self, fault: Fault | None) -> None: ...

class Fault:
    seed: int
    operation: int
    kind: str
    name: str
    numbers: tuple[int, ...]
    target: str | None
    def __init__(self, seed: int, operation: int, kind: str) -> None: ...

def kinds(what: str, size: int, step: int = 256) -> list[str]: ...

class FaultyFlash(NorFlash):
    powered: bool
    struck: bool
    on_operation: (
        Callable[[FaultyFlash, str, int, bytes | bytearray | memoryview | None], object] | None
    )
    def __init__(self, storage: _Storage) -> None: ...
    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Self: ...
    def arm(self, fault: Fault | None) -> None: ...
    def power_on(self) -> None: ...
    def rot(self, offset: int, bit: int, value: int) -> None: ...
    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None: ...
    def erase_sector(self, sector: int) -> None: ...
    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None: ...

def half_erased(old: bytes | bytearray, random: _Source) -> bytearray: ...
def torn_word(
    old: bytes | bytearray, new: bytes | bytearray | memoryview, random: _Source
) -> bytes: ...
def with_lost_words(
    old: bytes | bytearray, new: bytes | bytearray | memoryview, random: _Source
) -> bytearray: ...
