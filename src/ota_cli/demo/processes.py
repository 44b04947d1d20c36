"""The processes of the demonstration: started through the command line, ended by their ids."""

import shlex
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Self

from ota_cli import verbose
from ota_cli.demo.interrupts import held_back
from ota_cli.errors import CommandError

_READY_S = 20.0
_END_S = 10.0


class Server:
    """A server in its own process. Leaving its context ends it.

    Its standard error goes to a log file, of which the last line is shown if it fails.
    """

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self._name = name
        self._log = log
        verbose.tell(f"{name}: python {shlex.join(arguments)}")
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-u", *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it politely, then firmly."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def wait_until_ready(self) -> str:
        """The last word of the line that says where it listens. Raises CommandError."""
        lines: Queue[str] = Queue()
        threading.Thread(target=self._read_line, args=(lines,), daemon=True).start()
        try:
            line = lines.get(timeout=_READY_S)
        except Empty:
            line = ""
        if " listening on " not in line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise CommandError(f"{self._name} did not start: {last[0] if last else 'no reason'}")
        return line.split()[-1]

    def _read_line(self, lines: "Queue[str]") -> None:
        if self._process.stdout is not None:
            lines.put(self._process.stdout.readline())


def ota_service(*arguments: str | Path) -> list[str]:
    """Arguments for the interpreter to run our command line."""
    return ["-m", "ota_cli", *map(str, arguments)]


def run(*arguments: str | Path) -> None:
    """Run one command to its end, quietly. Raises CommandError with its last line."""
    code, last = _run(arguments, stdout=subprocess.DEVNULL)
    if code:
        raise CommandError(last or f"{arguments[0]} failed")


def run_visibly(*arguments: str | Path) -> tuple[int, str]:
    """Run one command with its progress on the terminal; exit code and its error line."""
    return _run(arguments)


def _run(arguments: tuple[str | Path, ...], **options: Any) -> tuple[int, str]:
    process = None
    verbose.tell(f"ota-service {shlex.join(map(str, arguments))}")
    try:
        with held_back():
            process = subprocess.Popen(
                [sys.executable, *ota_service(*arguments)],
                stderr=subprocess.PIPE,
                text=True,
                **options,
            )
        _, errors = process.communicate()
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.communicate()
    lines = errors.strip().splitlines()
    return process.returncode, lines[-1] if lines else ""
