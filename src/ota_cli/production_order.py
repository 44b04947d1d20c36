"""A batch of boards that are to get their secrets: a CSV file with a board on each line.

The first line names the columns: `id`, or `mac`; `application` and `labels`
(`name=value;name=value`) are optional. What the boards' roots are enrolled from afterwards is
`dice_auth.batch_file`'s.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from dice_auth.batch_file import parse_labels
from dice_auth.enrolment import check_board_id, check_texts, parse_mac
from dice_auth.errors import EnrolmentError
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes

_COLUMNS = ("id", "mac", "application", "labels")
_MOST_STEM_CHARS = 64
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")


@dataclass(frozen=True, slots=True)
class Ordered:
    """A board of a batch. stem: what its files' names begin with. labels: as they were written."""

    board_id: str
    stem: str
    application: str
    labels: str


def file_stem(board_id: str) -> str:
    """What the names of a board's files begin with: letters, digits, `.`, `_`, `-` alone.

    Never a path, hidden, or an option. A MAC's colons become `-`; behind any other id that had to
    be changed comes a part of its SHA-256, to keep it apart from others that look so then. Raises
    EnrolmentError for what cannot be an id.
    """
    check_board_id(board_id)
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", board_id).lstrip(".-")[:_MOST_STEM_CHARS]
    if plain == board_id or _MAC.fullmatch(board_id):
        return plain
    # Ids are printable text, so they can be encoded.
    return f"{plain or 'board'}-{sha256(board_id.encode()).hexdigest()[:12]}"


def read_order(path: Path) -> list[Ordered]:
    """The boards of a batch, in the file's order. Raises CommandError that names the line."""
    content = read_bytes(path, "batch")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CommandError(f"{path} line {line}: expected UTF-8", EXIT_USAGE) from None
    boards = list(_boards(path, text))
    if not boards:
        raise CommandError(f"{path}: no board in it", EXIT_USAGE)
    return boards


def _boards(path: Path, text: str) -> Iterator[Ordered]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: dict[str, int] = {}
    try:
        columns = next(rows, [])
        _check_columns(columns)
        for row in rows:
            if not row:
                continue
            board = _board(columns, row)
            # Names that differ in case alone are one on some file systems; so is a MAC.
            earlier = lines.setdefault(board.stem.casefold(), rows.line_num)
            if earlier != rows.line_num:
                raise EnrolmentError(f"{board.board_id} is the board of line {earlier}")
            yield board
    except (EnrolmentError, csv.Error) as error:
        where = f"{path} line {max(rows.line_num, 1)}"
        raise CommandError(f"{where}: {error}", EXIT_USAGE) from None


def _check_columns(columns: list[str]) -> None:
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown or not columns:
        found = repr(unknown[0])[:60] if unknown else "an empty line"
        raise EnrolmentError(
            f"the first line names the columns: expected {', '.join(_COLUMNS)}, found {found}"
        )
    if len(set(columns)) < len(columns):
        raise EnrolmentError("a column is named twice")
    if ("mac" in columns) == ("id" in columns):
        raise EnrolmentError("expected a column id, or a column mac")


def _board(columns: list[str], row: list[str]) -> Ordered:
    if len(row) != len(columns):
        raise EnrolmentError(f"expected {len(columns)} fields, found {len(row)}")
    values = dict(zip(columns, row, strict=True))
    mac = values.get("mac")
    if mac is not None:
        parse_mac(mac)
    board_id = values["id"] if mac is None else mac
    application, labels = values.get("application", ""), values.get("labels", "")
    check_texts(application, parse_labels(labels))
    return Ordered(board_id, file_stem(board_id), application, labels)
