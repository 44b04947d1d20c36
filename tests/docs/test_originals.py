"""docs/explanation/originals.md: all points, and for each a test that is there."""

import re

from tests.docs.named_tests import EXPLANATION, named_in, problem, rows

_POINTS = range(1, 29)
_PAGE = EXPLANATION / "originals.md"


def _points() -> list[list[str]]:
    """Number, what the originals do, what ours does, tests."""
    return [row for row in rows(_PAGE.read_text(), 4) if re.fullmatch(r"\d+", row[0])]


def test_the_page_has_every_point_once_in_their_order() -> None:
    assert [int(row[0]) for row in _points()] == list(_POINTS)
    assert all(all(row) for row in _points())


def test_every_point_names_a_test_that_is_there() -> None:
    without = [row[0] for row in _points() if not named_in(row[3])]
    assert not without, f"points without a test: {without}"
    problems = [what for row in _points() for name in named_in(row[3]) if (what := problem(name))]
    assert not problems


def test_what_stands_in_the_column_of_tests_is_named_so_that_it_is_read() -> None:
    for row in _points():
        assert len(re.findall(r"::", row[3])) == len(named_in(row[3])), row[0]
