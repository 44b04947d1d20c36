"""The processes of the demonstration: started through the command line, ended by their ids."""

import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Self

from ota_cli.errors import CommandError

_READY_S = 20.0
_END_S = 10.0


class Server:
    """A server in its own process, up once it says that it listens.

    Its standard error goes to a log file, of which the last lines are shown if it fails.
    """

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-u", *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.address = self._wait_until_ready()

    def end(self) -> None:
        """End it politely, then firmly."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def _read_line(self, lines: "Queue[str]") -> None:
        if self._process.stdout is not None:
            lines.put(self._process.stdout.readline())

    def _wait_until_ready(self) -> str:
        """The last word of the line that says where it listens. Raises CommandError."""
        lines: Queue[str] = Queue()
        threading.Thread(target=self._read_line, args=(lines,), daemon=True).start()
        try:
            line = lines.get(timeout=_READY_S)
        except Empty:
            line = ""
        if " listening on " not in line:
            self.end()
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise CommandError(f"{self.name} did not start: {last[0] if last else 'no reason'}")
        return line.split()[-1]


def ota_service(*arguments: str | Path) -> list[str]:
    """Arguments for the interpreter to run our command line."""
    return ["-m", "ota_cli", *map(str, arguments)]


def run(*arguments: str | Path) -> None:
    """Run one command to its end, quietly. Raises CommandError with its last line."""
    done = subprocess.run(
        [sys.executable, *ota_service(*arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CommandError(lines[-1] if lines else f"{arguments[0]} failed")


def run_visibly(*arguments: str | Path) -> tuple[int, str]:
    """Run one command with its progress on the terminal; exit code and its error line."""
    done = subprocess.run(
        [sys.executable, *ota_service(*arguments)], stderr=subprocess.PIPE, text=True, check=False
    )
    lines = done.stderr.strip().splitlines()
    return done.returncode, lines[-1] if lines else ""
