"""The whole picture of a watched agent, for a terminal of any size; nothing in it ever folds."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from ota_cli.watch.amounts import count_text, duration_text, size_text
from ota_cli.watch.board_table import BoardTable
from ota_cli.watch.cells import Cells
from ota_cli.watch.sessions import Agent, Totals
from ota_cli.watch.view import View

_Piece = tuple[str, str]  # text and style
_GAP = "   "
_LOW = 9  # lines; a lower terminal gets the shorter head
_SILENT_S = 3.0  # without an answer for so long over the interval, the screen says so


class Screen:
    """width, height: of the terminal, in cells. silence_s: how long no answer is nothing to
    mention."""

    def __init__(
        self, view: View, width: int, height: int, *, is_ascii: bool = False, interval_s: float = 1
    ) -> None:
        self._view = view
        self._width = width
        self._height = height
        self._cells = Cells(is_ascii)
        self._silence_s = interval_s + _SILENT_S

    def picture(self, now: float, clock: datetime | None = None) -> Group:
        """now: of the view's clock. clock: the time of day."""
        trouble = self._trouble(now)
        head = self._head(trouble, clock or datetime.now(UTC))
        rows = self._rows(len(head))
        table = BoardTable(self._view, self._width, self._cells)
        lines = [*head, table.heading()]
        shown = self._view.sessions.sessions[:rows]
        for session in shown:
            line = table.row(session)
            if trouble:
                line.stylize("dim")
            lines.append(line)
        if not self._view.sessions.count:
            lines.append(Text("no boards connected", style="dim"))
        lines = lines[: self._height - 1]
        lines += [Text()] * (self._height - 1 - len(lines))
        lines.append(self._foot(self._view.sessions.count - len(shown)))
        for line in lines:
            line.no_wrap, line.overflow = True, "crop"
        return Group(*lines[: self._height])

    @staticmethod
    def most_rows(height: int) -> int:
        """How many boards a terminal of so many lines can show at most."""
        return max(1, height - 3)

    def _rows(self, head: int) -> int:
        return max(0, self._height - head - 2)

    def _head(self, trouble: Text, clock: datetime) -> list[Text]:
        if self._height < _LOW:
            return [self._agent_line(clock), trouble or self._now_line()]
        return [
            self._agent_line(clock),
            self._firmware_line(),
            self._now_line(),
            self._totals_line(),
            trouble,
        ]

    def _trouble(self, now: float) -> Text:
        view = self._view
        silence_s = now - view.heard
        if view.trouble is None and silence_s < self._silence_s:
            return Text()
        reason = f": {view.trouble}" if view.trouble else ""
        text = f"no answer for {silence_s:.0f} s, trying again{reason}"
        return Text(self._cells.end_cut(text, self._width), style="bold red")

    def _agent_line(self, clock: datetime) -> Text:
        agent = self._view.sessions.agent
        up_s = max(0.0, (clock - agent.started).total_seconds())
        host = f"[{agent.host}]" if ":" in agent.host else agent.host
        line = self._line(
            (f"OTA agent {agent.version}", "bold"),
            _workers(agent),
            *([("finishing", "bold yellow")] if agent.is_finishing else []),
            (f"{host}:{agent.port}", ""),
            (f"up {duration_text(up_s)}", ""),
        )
        return self._with_right(line, self._view.url)

    def _firmware_line(self) -> Text:
        names = [
            f"{each.name} (default)" if each.is_default else each.name
            for each in self._view.sessions.firmware
        ]
        if not names:
            return self._line(("no firmware to serve", "yellow"))
        head = "serves "
        for shown in range(len(names), 0, -1):
            rest = self._view.sessions.firmware_count - shown
            text = head + ", ".join(names[:shown]) + (f" and {rest:,} more" if rest else "")
            if cell_len(self._cells.plain(text)) <= self._width:
                break
        return Text(self._cells.end_cut(text, self._width))

    def _now_line(self) -> Text:
        view = self._view
        more, over = ("+", " or more") if view.is_least else ("", "")
        rate = f"{size_text(view.bytes_per_s)}/s{over}"
        return self._line(
            (f"{view.sending:,}{more} sending at {rate}", "bold"),
            (f"{view.sessions.count:,} connected", ""),
        )

    def _totals_line(self) -> Text:
        """All of it in as many digits as there is room for."""
        totals = self._view.sessions.totals
        exact, short = _totals(totals, "{:,}".format), _totals(totals, count_text)
        for pieces in ([("since start", "dim"), *exact], exact, short):
            line = self._line(*pieces)
            if line.plain.endswith(pieces[-1][0]):
                break
        return line

    def _foot(self, more: int) -> Text:
        left = Text(f"and {more:,} more" if more > 0 else "", style="bold")
        return self._with_right(left, "q leaves")

    def _line(self, *pieces: _Piece) -> Text:
        """As many as fit, at least the first; shortened, if need be."""
        (first, style), *others = pieces
        line = Text(self._cells.end_cut(first, self._width), style=style)
        line = Text().append_text(line)
        for text, style in others:
            text = self._cells.plain(text)
            if line.cell_len + len(_GAP) + cell_len(text) > self._width:
                break
            line.append(_GAP).append(text, style)
        return line

    def _with_right(self, line: Text, right: str) -> Text:
        """With a remark at the right edge, where there is room for it."""
        right = self._cells.plain(right)
        blank = self._width - line.cell_len - cell_len(right)
        if blank >= (len(_GAP) if line.plain else 0):
            line.append(" " * blank).append(right, "dim")
        return line


def _workers(agent: Agent) -> _Piece:
    if agent.workers_missing:
        return f"{agent.workers_missing} of {agent.workers} workers missing", "bold red"
    return ("1 worker" if agent.workers == 1 else f"{agent.workers} workers"), ""


def _totals(totals: Totals, shown: Callable[[int], str]) -> Sequence[_Piece]:
    """The most wanted first."""
    return (
        (f"{shown(totals.sent)} sent", "green" if totals.sent else ""),
        (f"{shown(totals.failed)} failed", "red" if totals.failed else ""),
        (f"{shown(totals.refused)} refused", "yellow" if totals.refused else ""),
        (f"{shown(totals.up_to_date)} up to date", ""),
        (f"{shown(totals.turned_away)} turned away", "yellow" if totals.turned_away else ""),
        (size_text(totals.bytes), ""),
    )
