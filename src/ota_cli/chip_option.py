"""The `--chip` option: a name of the family, each listed in the help."""

from collections.abc import Callable
from typing import Any

import click

from esp_image import chips


def chip_option() -> Callable[[Any], Any]:
    """`--chip CHIP`, esp32 unless given."""
    names = sorted(chips.CHIPS)
    return click.option(
        "--chip",
        default="esp32",
        show_default=True,
        metavar="CHIP",
        type=click.Choice(names),
        help=f"One of {', '.join(names)}.",
    )
