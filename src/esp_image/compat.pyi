from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_T = TypeVar("_T")

def const(value: _T) -> _T: ...

sha256: Callable[..., Any]
sha384: Callable[..., Any] | None

def plain(found: _T) -> _T: ...
def xor_bytes(data: bytes | bytearray | memoryview, start: int, size: int, seed: int) -> int: ...
def ecdsa_host() -> ModuleType | None: ...
