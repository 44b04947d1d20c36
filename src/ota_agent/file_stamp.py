"""Whether files have changed since they were read."""

import os
import time
from pathlib import Path

# Changes within one tick of the file system's clock cannot be told apart (Linux: a jiffy, up to
# 10 ms): what was read so soon after a change is read again.
_RACY_NS = 50_000_000

Stamp = tuple[tuple[int, ...] | None, ...]


def stamp_of(*paths: Path) -> Stamp:
    """Equal stamps, equal files. One that cannot be looked at is None in it."""
    return tuple(_stamp(path) for path in paths)


def is_settled(stamp: Stamp) -> bool:
    """Whether a later change would show in another stamp."""
    now = time.time_ns()
    return all(each is None or not 0 <= now - each[3] < _RACY_NS for each in stamp)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    # The time of change too: that of modification is set back by `cp -p` and its like.
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns,
    )  # fmt: skip
