"""Sizes on the command line: `4MB`, `512KB` or a number of bytes."""

import re
from typing import Any

import click

_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}


class _SizeType(click.ParamType):
    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9})\s*([KM]?)B?", str(value), re.ASCII | re.IGNORECASE)
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r}: expected a size as 4MB", param, ctx)
        return int(found[1]) * _UNITS[found[2].upper()]


SIZE = _SizeType()
