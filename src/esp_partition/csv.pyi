from .table import Partition

TYPES: dict[str, int]
SUBTYPES: dict[int, dict[str, int]]
FLAGS: dict[str, int]

def parse_csv(
    text: str,
    table_offset: int = ...,
    bootloader_offset: int | None = None,
    recovery_offset: int | None = None,
) -> list[Partition]: ...
def parse_number(text: str, keywords: dict[str, int] | None = None) -> int: ...
