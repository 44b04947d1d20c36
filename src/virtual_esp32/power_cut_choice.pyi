from collections.abc import Callable, Iterator
from typing import Self

from .recorded_runs import Operation

TWO_CUTS: str
QUIET: tuple[str, ...]

class Depth:
    places: int | None
    seeds: int
    quiet: int
    pairs: int | None
    every: int
    def __init__(
        self, places: int | None, seeds: int, quiet: int, pairs: int | None, every: int = 1
    ) -> None: ...

SAMPLED: Depth
THOROUGH: Depth
EXHAUSTIVE: Depth

class Cut:
    operation: int
    kind: str
    seed: int
    second: Cut | None
    seconds: tuple[int, ...]
    def __init__(
        self,
        operation: int,
        kind: str,
        seed: int,
        second: Cut | None = None,
        seconds: tuple[int, ...] = (),
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @classmethod
    def parse(cls, text: str) -> Self: ...

class Choice:
    def __init__(self, depth: Depth, seed: int, is_app: Callable[[int], bool]) -> None: ...
    def cuts(self, number: int, operation: Operation, longest: int) -> Iterator[Cut]: ...

def second_kind(operation: Operation, seed: int) -> str: ...
