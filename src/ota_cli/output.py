"""What commands print: a rich console for people, JSON for scripts.

Texts come from images, boards and arguments: none of them is taken as markup, and no control
character of theirs reaches the terminal.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Timer
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_QUIET_S = 1.0

console = Console(highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """The text with what no terminal should be sent, lone surrogates too, as escapes."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def say(text: str) -> None:
    """One line for people, never folded."""
    console.print(printable(text), soft_wrap=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """On a terminal, from the second second on, a moving sign with this text and how long it has
    been; nothing elsewhere."""
    if not console.is_terminal:
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    sign = Progress(
        SpinnerColumn(),
        TextColumn(text, markup=False),
        TimeElapsedColumn(),
        console=console,
        redirect_stderr=sys.stderr.isatty(),
        transient=True,
    )
    sign.add_task("", total=None)
    timer = Timer(_QUIET_S, sign.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be about to start
        sign.stop()


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2))


def print_fields(fields: dict[str, object]) -> None:
    """Names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        shown = "-" if value in (None, "", []) else printable(str(value))
        table.add_row(Text(name, style="bold"), shown)
    console.print(table)


def log_line(source: str, name: str, detail: str) -> None:
    """One line of a long-running command's log, flushed at once."""
    clock = datetime.now().strftime("%H:%M:%S")
    print(f"{clock} {source} {name}: {detail}", file=sys.stderr, flush=True)


def ready_line(text: str) -> None:
    """Say on standard output that a server listens; flushed, whoever waits for it reads it."""
    print(text, flush=True)
