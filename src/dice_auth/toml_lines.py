"""Which line of a TOML document a key stands on: tomllib tells it of syntax alone."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

# Only after one of these can a statement of several lines end.
_ENDS = ("]", "}", '"""', "'''")


def line_of(text: str, path: tuple[str, ...], literal: str = "") -> int:
    """The number, from 1, of the line where the statement begins that first makes this key.

    text: TOML that tomllib reads. path: the key's parts. literal: something within its value; if
    it is found there, the line is that of it.
    """
    table: tuple[str, ...] = ()
    for first, lines, values in _statements(text):
        if lines[0].lstrip().startswith("["):
            table = _only_path(values)
            is_found = table[: len(path)] == path
        else:
            is_found = path[: len(table)] == table and _has(values, path[len(table) :])
        if is_found:
            whole = re.compile(rf"(?<!\w){re.escape(literal)}(?!\w)")
            at = (each for each, line in enumerate(lines) if literal and whole.search(line))
            return first + next(at, 0)
    return 1


def line_of_unreadable(text: str) -> int | None:
    """Where the first statement begins that tomllib cannot read by itself; None if there is none:
    then two of them contradict each other."""
    read = 0
    for first, lines, _ in _statements(text):
        read = first + len(lines) - 1
    rest = text.splitlines()[read:]
    unread = (number for number, line in enumerate(rest, read + 1) if not _says_nothing(line))
    return next(unread, None)


def _statements(text: str) -> Iterator[tuple[int, list[str], dict[str, Any]]]:
    """(number of its first line, its lines, what it says alone) of each that says something."""
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        lines.append(line)
        if len(lines) > 1 and not any(end in line for end in _ENDS):
            continue
        try:
            values = tomllib.loads("\n".join(lines))
        except (ValueError, RecursionError):
            continue  # it goes on in the next line
        if values:
            yield number - len(lines) + 1, lines, values
        lines = []


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _only_path(values: dict[str, Any]) -> tuple[str, ...]:
    """Of what a table's header says."""
    path = []
    value: Any = values
    while value:
        value = value[0] if isinstance(value, list) else value
        for name, below in value.items():
            path.append(name)
            value = below
    return tuple(path)


def _has(values: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True
