"""Run a program under what a systemd unit says of system calls, as systemd would (libseccomp):

    python -m tests.deploy.unit_filter UNIT PROGRAM ARGUMENT...

SystemCallFilter with its groups, MemoryDenyWriteExecute, RestrictAddressFamilies, NoNewPrivileges.
Not what needs a mount namespace or cgroup, which takes a running systemd.
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

LIBRARY = "libseccomp.so.2"
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_PR_SET_NO_NEW_PRIVS = 38
_EQUAL, _MASKED_EQUAL = 4, 7
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def values(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def groups() -> dict[str, set[str]]:
    """What systemd's @names stand for, one level deep."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            members = found.setdefault(line.strip(), set())
        elif word := line.partition("#")[0].strip():
            members.add(word)
    return found


def allowed_calls(unit: str) -> set[str]:
    known = groups()

    def expand(word: str) -> set[str]:
        if not word.startswith("@"):
            return {word}
        return set().union(*map(expand, known[word]))

    calls: set[str] = set()
    for line in values(unit, "SystemCallFilter"):
        words: set[str] = set().union(*map(expand, line.lstrip("~").split()))
        calls = calls - words if line.startswith("~") else calls | words
    # systemd adds what every program needs to begin.
    return calls | expand("@default") | {"execve"}


class _Filter:
    def __init__(self, library: ctypes.CDLL, default: int) -> None:
        self._library = library
        self._context = library.seccomp_init(ctypes.c_uint32(default))
        assert self._context

    def add(self, action: int, name: str, *comparisons: _Compare) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return
        array = (_Compare * len(comparisons))(*comparisons)
        self._library.seccomp_rule_add_array(
            ctypes.c_void_p(self._context), ctypes.c_uint32(action), number, len(comparisons), array
        )

    def load(self) -> None:
        assert self._library.seccomp_load(ctypes.c_void_p(self._context)) == 0


def restrict(unit: str) -> None:
    """This process and what comes of it."""
    calls = allowed_calls(unit)
    library = ctypes.CDLL(LIBRARY, use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    assert ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if values(unit, "MemoryDenyWriteExecute") == ["yes"]:
        both = _PROT_WRITE | _PROT_EXEC
        denying = _Filter(library, _ALLOW)
        deny = _ERRNO | errno.EPERM
        denying.add(deny, "mmap", _Compare(2, _MASKED_EQUAL, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            denying.add(deny, name, _Compare(2, _MASKED_EQUAL, _PROT_EXEC, _PROT_EXEC))
        denying.add(deny, "shmat", _Compare(2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
        denying.load()
    (families,) = values(unit, "RestrictAddressFamilies")
    denying = _Filter(library, _ALLOW)
    denied = set(range(64)) - {int(getattr(socket, name)) for name in families.split()}
    for family in denied:
        denying.add(_ERRNO | errno.EAFNOSUPPORT, "socket", _Compare(0, _EQUAL, family))
    denying.load()
    allowing = _Filter(library, _ERRNO | errno.EPERM)
    for name in calls:
        allowing.add(_ALLOW, name)
    allowing.load()


if __name__ == "__main__":
    restrict(Path(sys.argv[1]).read_text())
    os.execv(sys.argv[2], sys.argv[2:])
