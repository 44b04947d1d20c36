"""docs/explanation/architecture.md: rooms and floors are those of the code, and each invariant
names tests that are there."""

import re
import tomllib

from tests.docs.named_tests import EXPLANATION, ROOT, named_in, problem, rows

_PAGE = (EXPLANATION / "architecture.md").read_text()
_LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def _section(title: str) -> str:
    return _PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_room_is_described_and_no_other() -> None:
    described = [row[0].strip("`") for row in rows(_section("Rooms"), 3)]
    packages = sorted(path.parent.name for path in (ROOT / "src").glob("*/__init__.py"))
    assert sorted(described) == packages == sorted(_LINTER["root_packages"])


def test_the_floors_are_those_that_import_linter_enforces() -> None:
    rooms = "|".join(_LINTER["root_packages"])
    drawn = [
        set(re.findall(rf"\b(?:{rooms})\b", line))
        for line in _section("Floors").splitlines()
        if re.match(r"\d ", line)
    ]
    (contract,) = (each for each in _LINTER["contracts"] if each["type"] == "layers")
    assert drawn == [set(layer.split(" | ")) for layer in contract["layers"]]


def test_every_invariant_names_tests_that_are_there() -> None:
    invariants = rows(_section("Invariants"), 3)
    assert [row[0] for row in invariants] == ["1", "2", "3", "4", "5", "6"]
    for number, _, tests in invariants:
        assert named_in(tests), number
    assert not [what for name in named_in(_PAGE) if (what := problem(name))]
    assert len(re.findall(r"\.py::", _PAGE)) == len(named_in(_PAGE))
