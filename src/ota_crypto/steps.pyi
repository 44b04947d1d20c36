from collections.abc import Generator
from typing import Any, TypeVar

_T = TypeVar("_T")

def run(steps: Generator[Any, Any, _T]) -> _T: ...
