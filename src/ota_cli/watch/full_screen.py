"""The terminal while an agent is watched: its other screen, its keys, its size; given back as it
was, whatever happens."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live

_LEAVE = b"qQ\x03\x04"
_FOLD_OFF, _FOLD_ON = "\x1b[?7l", "\x1b[?7h"  # DECAWM: between a resize and the next picture
_USUAL = (80, 24)


def terminal_size() -> tuple[int, int]:
    """Columns and lines; asked of the terminal itself: COLUMNS and LINES do not follow it."""
    try:
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return _USUAL
    return (columns, lines) if columns and lines else _USUAL  # 0 by 0: a serial line


class FullScreen:
    """A context, inside a running event loop. leave: called for q. resized: for another size,
    and when a stopped process goes on."""

    def __init__(
        self, console: Console, leave: Callable[[], object], resized: Callable[[], object]
    ) -> None:
        self._console = console
        self._leave = leave
        self._resized = resized
        self._keys: list[Any] | None = None  # how the terminal treated keys before
        self._live: Live | None = None

    def draw(self, picture: RenderableType) -> None:
        if self._live is not None:
            self._console.size = terminal_size()
            self._live.update(picture, refresh=True)

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._show()
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        if self._keys is not None:
            loop.add_reader(sys.stdin.fileno(), self._read_key)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sys.stdin.fileno())
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGWINCH)
        self._hide()

    def _show(self) -> None:
        self._take_keys()
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._write(_FOLD_OFF)

    def _hide(self) -> None:
        live, self._live = self._live, None
        try:
            if live is not None:
                self._write(_FOLD_ON)
                live.stop()
        finally:
            self._give_keys_back()

    def _write(self, sequence: str) -> None:
        self._console.file.write(sequence)
        self._console.file.flush()

    def _take_keys(self) -> None:
        """Keys come one by one and are not shown; Ctrl-C and Ctrl-Z stay signals."""
        if not sys.stdin.isatty():
            return
        descriptor = sys.stdin.fileno()
        self._keys = termios.tcgetattr(descriptor)
        taken = termios.tcgetattr(descriptor)
        taken[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, taken)

    def _give_keys_back(self) -> None:
        if self._keys is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._keys)

    def _read_key(self) -> None:
        keys = os.read(sys.stdin.fileno(), 64)
        if not keys:  # the terminal is gone, SIGHUP on its way
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if any(key in _LEAVE for key in keys):
            self._leave()

    def _stop(self) -> None:
        """Ctrl-Z: the shell gets its own screen; `fg` comes back to this one."""
        self._hide()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._show()
        self._resized()
