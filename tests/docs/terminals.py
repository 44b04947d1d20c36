"""Follows a page as its reader does: types its blocks into terminals, compares what they print.

An `sh` block goes into the terminal that its title names; a `text` block titled "prints" is what
the block before it prints, with `...` for what differs. A command whose last shown line says where
it listens is a server: it is left running. Every other command has to end with exit code 0, unless
the next line shows `$?`. Nothing sleeps: a server is awaited by its line.
"""

import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.docs.pages import Block, blocks

TIMEOUT_S = 60.0
# What we run in, and a reader's terminal does not: an activated .venv, and make.
_OF_OURS = {"VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
_END = "--end-of-block--"
_FAILED = "--failed--"
# Of a terminal 100 columns wide; what is printed comes in the order in which it was written.
_ENVIRONMENT = {"COLUMNS": "100", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb"}


class Terminal:
    """A shell in a folder. log: everything that it has printed."""

    def __init__(self, folder: Path, *first_in_path: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in _OF_OURS}
        path = os.pathsep.join([*map(str, first_in_path), environment["PATH"]])
        environment.update(_ENVIRONMENT, PATH=path)
        self._shell = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        assert self._shell.stdin is not None
        self._stdin = self._shell.stdin
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.serves = False
        self._started = 0
        self.log = ""
        self._type(f"trap 'echo \"{_FAILED}\"' ERR\n")

    def run(self, commands: str, shown: str | None, timeout_s: float = TIMEOUT_S) -> str:
        """Type commands; what they printed. Raises AssertionError if that is not what is shown."""
        assert not self.serves, f"this terminal is busy:\n{commands}"
        self._type(f"{commands}\necho {_END}\n")
        self.serves = bool(shown) and " listening on " in shown.splitlines()[-1]
        printed, failures = "", 0
        until = time.monotonic() + timeout_s
        while not (self.serves and matches(shown, printed)):
            line = self._next_line(until, commands, printed)
            if line.endswith(f"{_END}\n"):
                assert not self.serves, f"it ended:\n{commands}\n{printed}"
                printed += line.removesuffix(f"{_END}\n")  # a last line may lack its end
                break
            failures += line == f"{_FAILED}\n"
            printed += "" if line == f"{_FAILED}\n" else line
        self.log += printed
        self._started += commands.count(" &\n")
        self.wait_for_servers()
        assert failures == commands.count("$?"), f"{commands}\nfailed and printed\n{printed}"
        assert shown is None or matches(shown, printed), (
            f"{commands}\nprinted\n{printed}\nthe page shows\n{shown}"
        )
        return printed

    def wait_for_servers(self) -> None:
        """Read on until each that was started with `&` has said where it listens."""
        until = time.monotonic() + TIMEOUT_S
        while self.log.count(" listening on ") < self._started:
            self.log += self._next_line(until, "waiting for servers", self.log)

    def interrupt(self) -> str:
        """Ctrl-C; what the server printed since. It has to end with exit code 0."""
        os.killpg(self._shell.pid, signal.SIGINT)
        printed, until = "", time.monotonic() + TIMEOUT_S
        while (line := self._next_line(until, "Ctrl-C", printed)) != f"{_END}\n":
            printed += line
        self.log += printed
        self.serves = False
        assert _FAILED not in printed, printed
        return printed

    def close(self) -> None:
        """End the shell, and what still runs in it."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._reader.join()
        self._stdin.close()
        if self._shell.stdout is not None:
            self._shell.stdout.close()

    def _type(self, text: str) -> None:
        self._stdin.write(text)
        self._stdin.flush()

    def _read(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next_line(self, until: float, commands: str, printed: str) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"not done in time:\n{commands}\n{printed}") from None
        assert line, f"the shell ended:\n{commands}\n{printed}"
        return line


def matches(shown: str | None, printed: str) -> bool:
    """Whether this is what is shown: `...` is anything within a line, as a line of its own any
    number of lines; spaces at a line's end do not count."""
    pattern = ""
    for line in (shown or "").splitlines():
        if line == "...":
            pattern += "(?:[^\n]*\n)*"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.rstrip().split("...")) + "\n"
    text = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, text) is not None


@contextmanager
def followed(
    page: Path,
    folder: Path,
    change: Callable[[str], str] = str,
    timeout_s: float = TIMEOUT_S,
    first_in_path: tuple[Path, ...] = (),
) -> Iterator[dict[str, Terminal]]:
    """Every `sh` block of a page typed, in a fresh checkout; yields the terminals by their names,
    their servers running. change: done to commands and to what is shown, to have other ports."""
    terminals: dict[str, Terminal] = {}
    try:
        for block, shown in pairs(blocks(page)):
            terminal = terminals.get(block.title)
            if terminal is None:
                terminal = terminals[block.title] = Terminal(folder, *first_in_path)
            try:
                terminal.run(
                    change(block.text), None if shown is None else change(shown), timeout_s
                )
            except AssertionError as error:
                logs = "\n".join(f"== {name}\n{each.log}" for name, each in terminals.items())
                raise AssertionError(f"{block}: {error}\n{logs}") from None
        yield terminals
    finally:
        for terminal in terminals.values():
            terminal.close()


def pairs(every: list[Block]) -> Iterator[tuple[Block, str | None]]:
    """Each `sh` block with what it prints. Raises AssertionError for a block that is neither."""
    for at, block in enumerate(every):
        after = every[at + 1] if at + 1 < len(every) else None
        prints = after is not None and after.title == "prints"
        if block.language == "sh":
            yield block, after.text if prints and after is not None else None
        else:
            is_shown = at > 0 and every[at - 1].language == "sh" and block.title == "prints"
            assert block.language == "text" and is_shown, f"{block}: neither typed nor printed"
