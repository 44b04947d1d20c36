"""Flash sizes on the command line: `4MB`, `512KB` or a number of bytes."""

import re

import click

_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}
_SECTOR_BYTES = 4096
_MOST_BYTES = 128 * 1024 * 1024  # esp_app_format.h, ESP_IMAGE_FLASH_SIZE_128MB


def parse_flash_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """A click callback: the number of bytes."""
    found = re.fullmatch(r"(\d{1,9})\s*([KM]?)B?", value, re.ASCII | re.IGNORECASE)
    size = int(found[1]) * _UNITS[found[2].upper()] if found else 0
    if not 0 < size <= _MOST_BYTES or size % _SECTOR_BYTES:
        raise click.BadParameter(
            f"{value!r}: expected a size as 4MB, a multiple of {_SECTOR_BYTES} bytes, at most 128MB"
        )
    return size
