"""The bar of a command that goes through many boards."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ota_cli import output, verbose

_TELL_S = 1.0  # between two lines of --verbose


class BoardsBar:
    """A bar on a terminal, with boards a second and time left; nothing elsewhere.

    action: as `reading`. total: where it ends, in boards or whatever `report` is given. boards:
    how many there were so far.
    """

    def __init__(self, action: str, total: int) -> None:
        self.boards = 0
        self._action = action
        self._told = time.monotonic()
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn(action),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]:,.0f} boards/s"),
            TimeRemainingColumn(),
            console=output.console,
            disable=not output.console.is_terminal,
            redirect_stderr=sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=max(1, total), rate=0)

    def report(self, boards: int, completed: int) -> None:
        """So many boards, which are so much of the total."""
        self.boards = boards
        rate = boards / max(0.001, time.monotonic() - self._started)
        self._bar.update(self._task, completed=completed, rate=rate)
        if time.monotonic() - self._told > _TELL_S:
            self._told = time.monotonic()
            verbose.tell(f"{self._action}: {boards} boards so far, {rate:,.0f} a second")

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        verbose.tell(f"{self._action}: begun")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Rich before 14.3 ends a bar that was never there with an empty line.
        if not self._bar.disable:
            self._bar.stop()
        verbose.tell(f"{self._action}: {self.boards} boards")
