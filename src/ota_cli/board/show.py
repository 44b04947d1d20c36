"""`ota-service board show`: what a flash file holds and what it would boot."""

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ota_cli import output
from ota_cli.board.description import describe
from ota_cli.board.flash_file import opened
from ota_cli.errors import CommandError
from virtual_esp32 import VirtualBoardError

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("flash", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(flash: Path, as_json: bool) -> None:
    """Show what a board's flash holds and what it would boot; changes nothing.

    \b
    Example:
      ota-service board show flash.bin
    """
    with opened(flash, copy=True) as board:
        try:
            fields = describe(board)
        except VirtualBoardError as error:
            raise CommandError(f"{flash}: {error}") from None
    if as_json:
        output.print_json(fields)
        return
    tables = [
        _partition_table(fields.pop("partitions")),
        _otadata_table(fields.pop("otadata")),
        _slot_table(fields.pop("slots")),
    ]
    output.print_fields({**fields, "passed_over": "\n".join(fields["passed_over"])})
    for table in tables:
        output.console.print()
        output.console.print(table)


def _partition_table(partitions: list[dict[str, Any]]) -> Table:
    table = _table("partition", "type", "subtype", "offset", "size")
    for row in partitions:
        numbers = (f"0x{row[name]:x}" for name in ("type", "subtype", "offset", "size"))
        table.add_row(_text(row["label"]), *numbers)
    return table


def _otadata_table(entries: list[dict[str, Any]]) -> Table:
    table = _table("otadata", "seq", "state", "crc")
    for row in entries:
        crc = "right" if row["crc_ok"] else "wrong" if row["seq"] is not None else None
        table.add_row(*map(_text, (row["sector"], row["seq"], row["state"], crc)))
    return table


def _slot_table(slots: list[dict[str, Any]]) -> Table:
    table = _table("slot", "project", "version", "state", "signed", "image")
    for row in slots:
        signed = ", ".join(block["scheme"] for block in row["signatures"])
        cells = (row["label"], row["project"], row["version"], row["state"], signed, row["image"])
        table.add_row(*map(_text, cells))
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _text(value: object) -> str:
    return "-" if value in (None, "") else output.printable(str(value))
