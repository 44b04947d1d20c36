"""`board export` and `board erase-otadata`: contents taken out, or forgotten."""

from pathlib import Path

import click

from esp_image import ImageError
from esp_partition import table
from ota_cli import output
from ota_cli.board import flash_file
from ota_cli.errors import CommandError
from ota_cli.files import refuse_to_replace, write_bytes
from virtual_esp32 import VirtualBoardError, bootloader
from virtual_esp32.flash import SECTOR_BYTES

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("flash", type=_FILE)
@click.option("--slot", required=True, metavar="LABEL", help="App partition, as ota_0.")
@click.option("--raw", is_flag=True, help="The whole partition, whatever it holds.")
@click.option("-o", "--output", "out", required=True, type=_FILE, help="File to write.")
def export(flash: Path, slot: str, raw: bool, out: Path) -> None:
    """Write the image in a slot to a file, with its signature sector.

    \b
    Example:
      ota-service board export flash.bin --slot ota_1 -o image.bin
    """
    refuse_to_replace(flash, out, "flash file")
    with flash_file.opened(flash, copy=True) as board:
        try:
            partitions = bootloader.read_partition_table(board.flash)
        except VirtualBoardError as error:
            raise CommandError(f"{flash}: {error}") from None
        apps = [p for p in partitions if p.type == table.TYPE_APP]
        found = [p for p in apps if p.label == slot]
        if not found:
            names = ", ".join(p.label for p in apps) or "none"
            raise CommandError(f"{flash}: no app partition {slot}; there are: {names}")
        content = bytes(board.flash.read(found[0].offset, found[0].size))
    if not raw:
        try:
            content = content[: flash_file.parse_slot(content).total_bytes]
        except ImageError as error:
            raise CommandError(f"{flash}: {slot}: {error.code}: {error} (see --raw)") from None
    write_bytes(out, content, "image")
    output.say(f"{out}: {len(content)} bytes of {slot}")


@click.command("erase-otadata")
@click.argument("flash", type=_FILE)
def erase_otadata(flash: Path) -> None:
    """Forget which slot boots: the board boots factory, or its first slot, next.

    \b
    Example:
      ota-service board erase-otadata flash.bin
    """
    with flash_file.opened(flash) as board:
        try:
            where = bootloader.find_otadata(bootloader.read_partition_table(board.flash))
        except VirtualBoardError as error:
            raise CommandError(f"{flash}: {error}") from None
        if where is None:
            raise CommandError(f"{flash}: its partition table has no otadata")
        for sector in range(where.size // SECTOR_BYTES):
            board.flash.erase_sector(where.offset // SECTOR_BYTES + sector)
    output.say(f"{flash}: otadata erased")
