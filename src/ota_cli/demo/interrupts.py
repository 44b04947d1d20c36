"""SIGINT and SIGTERM end the demonstration, but never between the start of a process and the
moment we know it: it would be left running."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _State:
    held = False
    pending = False


def install() -> None:
    """From here on both signals are KeyboardInterrupt."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """A signal that comes meanwhile is raised at the end."""
    _State.held = True
    try:
        yield
    finally:
        _State.held = False
    if _State.pending:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _State.held:
        _State.pending = True
    else:
        raise KeyboardInterrupt
