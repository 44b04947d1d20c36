from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_Buffer = bytes | bytearray | memoryview

HAS_NATIVE_CODE: bool
HAS_HASHLIB_SHA512: bool
HAS_CRYPTOGRAPHY: bool

class micropython:  # noqa: N801
    @staticmethod
    def viper(function: _T) -> _T: ...

def const(value: _T) -> _T: ...
def sha512_compress() -> Callable[[bytearray, _Buffer, _Buffer, bytearray], None]: ...
