"""Runs the command line in processes of its own, as users do."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "ota-service")


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        timeout=120,
        check=False,
        **{"text": True, **options},
    )


def done(*arguments: Any, **options: Any) -> str:
    """One command that must succeed; its output."""
    result = run(*arguments, **options)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def refused(*arguments: Any, code: int = 1, **options: Any) -> str:
    """One command that must fail with this exit code and one line; that line."""
    result = run(*arguments, **options)
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@contextmanager
def server(*arguments: Any, **options: Any) -> Iterator[str]:
    """A server in its own process; yields where it listens, ends it politely.

    log: a list that gets its lines on standard error; all are there when the block has ended.
    """
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=options.pop("env", None),
    )
    lines: queue.Queue[str] = queue.Queue()
    errors: list[str] = options.pop("log", [])
    readers = [
        threading.Thread(target=lambda: lines.put(process.stdout.readline())),
        threading.Thread(target=lambda: errors.extend(process.stderr)),
    ]
    for reader in readers:
        reader.start()
    try:
        line = lines.get(timeout=30)
        assert " listening on " in line, (line, errors)
        yield line.split()[-1]
    finally:
        process.terminate()
        code = process.wait(20)
        for reader in readers:
            reader.join(10)
        process.stdout.close()
        process.stderr.close()
    assert code == 0, (code, errors)
    assert "Traceback" not in "".join(errors), "".join(errors)
