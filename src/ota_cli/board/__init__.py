"""`ota-service board`: make, run and look at virtual boards."""

import click

from ota_cli.board.adopt import adopt
from ota_cli.board.contents import erase_otadata, export
from ota_cli.board.create import create
from ota_cli.board.powercut import powercut
from ota_cli.board.run import run
from ota_cli.board.show import show


@click.group()
def board() -> None:
    """Virtual ESP32 boards: a flash file, its eFuse values beside it.

    \b
    Example:
      ota-service board create flash.bin --app thermo-1.0.0.bin
      ota-service board run flash.bin --agent-ca certs/ca.pem
    """


for command in (adopt, create, erase_otadata, export, powercut, run, show):
    board.add_command(command)
