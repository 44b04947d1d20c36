"""docs/explanation/comparison.md: every system in every table, and no cell without its source."""

import re

import pytest

from tests.docs.named_tests import EXPLANATION

_PAGE = (EXPLANATION / "comparison.md").read_text()
_SYSTEMS = [
    "esp_https_ota", "MCUboot", "RAUC", "hawkBit", "Mender", "the C originals", "ours",
]  # fmt: skip
_SOURCES = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", _PAGE, re.MULTILINE))
_LINK = re.compile(r"\[([^\]]+)\](?:\[([\w-]+)\]|\(([^)]+)\))")
_TABLES = re.findall(r"^\| \| .*\n\|[-|]+\n((?:\|.*\n)+)", _PAGE, re.MULTILINE)


def _cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]


@pytest.mark.parametrize("table", _TABLES, ids=lambda table: table[:40])
def test_a_table_has_every_system_and_every_cell_is_a_linked_statement(table: str) -> None:
    rows = _cells(table)
    assert [row[0] for row in rows] == _SYSTEMS
    for system, *cells in rows:
        for cell in cells:
            assert _LINK.search(cell), f"{system}: no source: {cell!r}"
            assert not _LINK.sub("", cell).strip("; "), f"{system}: beside the source: {cell!r}"


def test_every_source_is_a_page_that_is_there_or_an_address() -> None:
    used = {(name, path) for _, name, path in _LINK.findall(_PAGE)}
    assert {name for name, _ in used if name} == set(_SOURCES)
    for _, path in used:
        assert not path or (EXPLANATION / path).is_file(), path
    assert all(address.startswith("https://") for address in _SOURCES.values())


def test_what_is_ours_is_sourced_from_our_own_pages() -> None:
    for table in _TABLES:
        assert all(path for cell in _cells(table)[-1] for *_, path in _LINK.findall(cell))


def test_the_page_has_its_date_and_every_table_is_looked_at() -> None:
    assert re.search(r"on 20\d\d-\d\d-\d\d", _PAGE)
    assert len(_TABLES) == len(re.findall(r"^\| \|", _PAGE, re.MULTILINE)) == 7
