"""Which implementation answers: `native` (hashlib and `cryptography`) or `pure` (our own).

CPython starts with `native`, MicroPython has only `pure`. The choice is for tests and
measurements; both give the same bytes.
"""

from . import compat

NATIVE = "native"
PURE = "pure"

_current = NATIVE if compat.HAS_HASHLIB_SHA512 and compat.HAS_CRYPTOGRAPHY else PURE


def current():
    """Name of the backend in use."""
    return _current


def is_native():
    return _current == NATIVE


def select(name):
    """Use the backend `name` from now on, in the whole process; returns the one used before.

    Raises ValueError if there is no such backend on this runtime.
    """
    global _current
    has_native = compat.HAS_HASHLIB_SHA512 and compat.HAS_CRYPTOGRAPHY
    if name != PURE and not (name == NATIVE and has_native):
        raise ValueError("no backend %r on this runtime" % (name,))
    before = _current
    _current = name
    return before
