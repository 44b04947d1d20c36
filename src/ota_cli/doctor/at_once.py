"""Looks that wait for somebody run side by side, and none of them for ever."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ota_cli import verbose

_T = TypeVar("_T")


class Running(Generic[_T]):
    """Work in a thread that nobody waits for at the end of the program. name: for --verbose."""

    def __init__(self, name: str, work: Callable[[], _T]) -> None:
        self._name = name
        self._work = work
        self._ended: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        took = verbose.Took()
        verbose.tell(f"{self._name}: begun")
        outcome: tuple[_T | None, BaseException | None]
        try:
            outcome = self._work(), None
        except BaseException as error:
            outcome = None, error
        # First: with the last look the program ends.
        verbose.tell(f"{self._name}: done in {took}")
        self._ended.put(outcome)

    def result(self, deadline: float, late: Callable[[], _T]) -> _T:
        """What the work returns or raises. deadline: of time.monotonic; then what `late` says."""
        try:
            found, error = self._ended.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return late()
        if error is not None:
            raise error
        return found  # type: ignore[return-value]
