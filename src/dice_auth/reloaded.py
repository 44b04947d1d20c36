"""What stands in a file, read again when the file changes; a file with a mistake changes nothing.

Changes are looked for every second: a file may be replaced, or be a link to one that is (as
Kubernetes does it), and a stamp sees all of that.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from dice_auth.errors import DiceAuthError
from dice_auth.structured_log import log_event

LOOK_EVERY_S = 1.0
# Changes within one tick of the file system's clock cannot be told apart (Linux: a jiffy, up to
# 10 ms): what was read so soon after a change is read again.
_RACY_NS = 50_000_000

_T = TypeVar("_T")
_Stamp = tuple[tuple[int, ...] | None, ...]


class Reloaded(Generic[_T]):
    """paths: the files. load: reads them; raises DiceAuthError, here too. value: what was read."""

    def __init__(self, load: Callable[[], _T], *paths: Path) -> None:
        self._load = load
        self._paths = paths
        self._stamp: _Stamp | None = _stamp_of(paths)
        self._reason = ""
        self.value = load()
        self._settle()

    def look(self, *, force: bool = False) -> None:
        """Read again if the files have changed, or by force."""
        stamp = _stamp_of(self._paths)
        if stamp == self._stamp and not force:
            return
        self._stamp = stamp
        try:
            value = self._load()
        except (DiceAuthError, OSError) as error:  # gone between two looks at it
            if force or str(error) != self._reason:
                log_event("not-reloaded", level=logging.ERROR, reason=str(error))
            self._reason = str(error)
        else:
            if force or value != self.value or self._reason:
                log_event("reloaded", files=[str(path) for path in self._paths])
            self.value, self._reason = value, ""
        self._settle()

    def _settle(self) -> None:
        """Forget a stamp that a later change might share."""
        now = time.time_ns()
        changes = [each[3] for each in self._stamp or () if each is not None]
        if any(0 <= now - change < _RACY_NS for change in changes):
            self._stamp = None


def _stamp_of(paths: tuple[Path, ...]) -> _Stamp:
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    # The time of change too: that of modification is set back by `cp -p` and its like.
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns,
        status.st_mode,
    )  # fmt: skip
