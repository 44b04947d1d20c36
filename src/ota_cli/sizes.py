"""Sizes on the command line: `4MB`, `512KB` or a number of bytes."""

import re

import click

_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}


def parse_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """A click callback: the number of bytes."""
    found = re.fullmatch(r"(\d{1,9})\s*([KM]?)B?", value, re.ASCII | re.IGNORECASE)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{value!r}: expected a size as 4MB")
    return int(found[1]) * _UNITS[found[2].upper()]
