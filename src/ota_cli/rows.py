"""A table with a line for each row, however many: a rich one takes half a minute for 100,000."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ota_cli import output

_GAP = "  "
_LEAST_CELLS = 8  # of a column that is cut

Row = Sequence[str]


def print_rows(names: Row, rows: Sequence[Row]) -> None:
    """names: of the columns. On a terminal what is too wide for it is cut, the widest first, and
    ends in `…`; elsewhere all is there."""
    shown = [[output.printable(cell) for cell in row] for row in (names, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    if output.console.is_terminal:
        _narrow(widths, output.console.width)
    head, *lines = (_GAP.join(map(_fit, row, widths)).rstrip() for row in shown)
    output.console.print(Text(head, "bold"), soft_wrap=True)
    output.console.file.writelines(f"{line}\n" for line in lines)


def _narrow(widths: list[int], most: int) -> None:
    """Take from the widest until all fit, or each is as narrow as can be."""
    while sum(widths) + len(_GAP) * (len(widths) - 1) > most:
        widest = widths.index(max(widths))
        if widths[widest] <= _LEAST_CELLS:
            return
        widths[widest] -= 1


def _fit(cell: str, width: int) -> str:
    if cell_len(cell) > width:
        return set_cell_size(cell, width - 1) + "…"
    return set_cell_size(cell, width)
