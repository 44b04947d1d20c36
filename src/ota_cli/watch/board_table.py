"""The table of boards: which columns a width has room for, and what stands in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from ota_cli.watch.amounts import duration_text, size_text
from ota_cli.watch.cells import Cells
from ota_cli.watch.sessions import Session
from ota_cli.watch.view import View

_WIDE = 100  # from here on two cells between columns
_RATE_CELLS = 9  # for `51.2 kB/s`
_STATE_STYLES = {"sending": "green", "attesting": "cyan", "conversing": "cyan"}


class BoardTable:
    """width: cells of every line."""

    def __init__(self, view: View, width: int, cells: Cells) -> None:
        self._view = view
        self._cells = cells
        self._gap = " " * (2 if width >= _WIDE else 1)
        self._columns = _widths(_COLUMNS, width, len(self._gap))
        self._has_peers = any(column is _PEER for column, _ in self._columns)

    def heading(self) -> Text:
        parts = [
            self._placed(column, Text(_heading(column, width)), width)
            for column, width in self._columns
        ]
        line = Text(self._gap).join(parts)
        line.stylize("bold")
        return line

    def row(self, session: Session) -> Text:
        parts = [
            self._placed(column, column.content(self, session, width), width)
            for column, width in self._columns
        ]
        return Text(self._gap).join(parts)

    def _placed(self, column: "_Column", text: Text, width: int) -> Text:
        blank = Text(" " * max(0, width - text.cell_len))
        return blank + text if column.is_number else text + blank

    def board(self, session: Session, width: int) -> Text:
        """Its address, where it has no name yet and the address no column."""
        if session.board is not None:
            return Text(self._cells.middle_cut(session.board, width), style="bold")
        name = "-" if self._has_peers else self._cells.end_cut(session.peer, width)
        return Text(name, style="dim")

    def peer(self, session: Session, width: int) -> Text:
        return Text(self._cells.middle_cut(session.peer, width))

    def protocol(self, session: Session, width: int) -> Text:
        known = session.protocol is not None
        return Text(self._cells.end_cut(str(session.protocol) if known else "-", width))

    def state(self, session: Session, width: int) -> Text:
        style = _STATE_STYLES.get(session.state, "dim")
        return Text(self._cells.end_cut(session.state, width), style=style)

    def firmware(self, session: Session, width: int) -> Text:
        """Without the chip, its last word, where there is no room for all."""
        text = session.firmware or "-"
        if cell_len(text) > width:
            text = text.rpartition(" ")[0] or text
        return Text(self._cells.end_cut(text, width))

    def bar(self, session: Session, width: int) -> Text:
        share = _share(session)
        if share is None:
            return Text()
        done, rest = self._cells.bar(share, width)
        return Text.assemble((done, "green" if share == 1 else "cyan"), (rest, "dim"))

    def percent(self, session: Session, width: int) -> Text:
        share = _share(session)
        return Text("" if share is None else f"{int(share * 100)}%")

    def size(self, session: Session, width: int) -> Text:
        if not session.is_sending:
            return Text("")
        text = size_text(session.bytes)
        whole = f"{text} of {size_text(session.total)}" if session.total is not None else text
        return Text(whole if len(whole) <= width else text)

    def rate(self, session: Session, width: int) -> Text:
        if not session.is_sending:
            return Text("")
        text = size_text(self._view.rate(session))
        return Text(f"{text}/s" if width == _RATE_CELLS else text)

    def left(self, session: Session, width: int) -> Text:
        seconds = self._view.seconds_left(session)
        unknown = "-" if session.is_sending else ""
        return Text(unknown if seconds is None else duration_text(seconds))

    def age(self, session: Session, width: int) -> Text:
        return Text(duration_text(session.age_s))


def _share(session: Session) -> float | None:
    """How much of what is being sent is sent; None where nothing is, or it has no known end."""
    if not session.is_sending or session.total is None:
        return None
    return min(1.0, session.bytes / session.total) if session.total else 1.0


@dataclass(frozen=True)
class _Column:
    """short: the heading where the other one, or what it stands for, has no room. least, most:
    cells; is_rigid: nothing between the two is of use. rank: the highest goes first where there is
    no room."""

    heading: str
    short: str
    content: Callable[[BoardTable, Session, int], Text]
    least: int
    most: int
    rank: int
    is_number: bool = field(default=False, kw_only=True)
    is_rigid: bool = field(default=False, kw_only=True)


_PEER = _Column("address", "", BoardTable.peer, 30, 47, 9)
_COLUMNS = (
    _Column("board", "", BoardTable.board, 17, 40, 0),
    _PEER,
    _Column("protocol", "P", BoardTable.protocol, 1, 8, 7, is_rigid=True),
    _Column("state", "", BoardTable.state, 10, 10, 2),
    _Column("firmware", "", BoardTable.firmware, 12, 24, 6),
    _Column("progress", "", BoardTable.bar, 9, 30, 5),
    _Column("%", "", BoardTable.percent, 4, 4, 1, is_number=True),
    _Column("bytes", "", BoardTable.size, 7, 18, 4, is_number=True, is_rigid=True),
    _Column("rate", "per s", BoardTable.rate, 7, _RATE_CELLS, 3, is_number=True, is_rigid=True),
    _Column("left", "", BoardTable.left, 5, 5, 2, is_number=True),
    _Column("age", "", BoardTable.age, 5, 5, 8, is_number=True),
)


def _heading(column: _Column, width: int) -> str:
    return column.short if column.short and width < column.most else column.heading


def _widths(columns: Sequence[_Column], width: int, gap: int) -> list[tuple[_Column, int]]:
    """The columns there is room for, and how wide each is."""
    chosen = sorted(columns, key=lambda column: column.rank)
    while len(chosen) > 1 and sum(each.least + gap for each in chosen) - gap > width:
        chosen.pop()
    shown = [column for column in columns if column in chosen]
    sizes = {column.heading: min(column.least, width) for column in shown}
    spare = max(0, width + gap - sum(each.least + gap for each in shown))
    for column in sorted(shown, key=lambda column: column.rank):
        wish = column.most - column.least
        if column.is_rigid and spare >= 2 * wish:  # the others want to grow too
            sizes[column.heading] += wish
            spare -= wish
    elastic = [each for each in shown if not each.is_rigid]
    room = sum(each.most - each.least for each in elastic)
    for column in elastic:
        wish = column.most - column.least
        sizes[column.heading] += min(wish, spare * wish // room)
    return [(column, sizes[column.heading]) for column in shown]
