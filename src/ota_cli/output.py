"""What commands print: a rich console for people, JSON for scripts."""

import json
import sys
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2))


def print_fields(fields: dict[str, object]) -> None:
    """Names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(f"[bold]{name}[/bold]", "-" if value in (None, "", []) else str(value))
    console.print(table)


def log_line(source: str, name: str, detail: str) -> None:
    """One line of a long-running command's log, flushed at once."""
    clock = datetime.now().strftime("%H:%M:%S")
    print(f"{clock} {source} {name}: {detail}", file=sys.stderr, flush=True)


def ready_line(text: str) -> None:
    """Say on standard output that a server listens; flushed, whoever waits for it reads it."""
    print(text, flush=True)
