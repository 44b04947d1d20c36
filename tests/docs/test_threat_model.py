"""docs/explanation/threat-model.md: every attack names a test, and every test is there."""

import re

import pytest

from tests.docs.named_tests import EXPLANATION, named_in, problem, rows

_PAGE = (EXPLANATION / "threat-model.md").read_text()
# What the issue has in mind when it says threat model, each a heading.
_ATTACKERS = (
    "Somebody on the same Wi-Fi", "Somebody in the middle", "Somebody with a stolen board",
    "Malicious firmware on a board", "A compromised agent",
    "A compromised attestation server, registry or Redis",
    "A firmware registry, and whoever can write to it", "Somebody at the admin ports",
    "A thief of keys",
    "Denial of service", "The supply chain", "Power cuts as an attack",
)  # fmt: skip


def _section(title: str) -> str:
    return _PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("attacker", _ATTACKERS)
def test_every_attack_names_a_test_that_is_there(attacker: str) -> None:
    attacks = rows(_section(attacker), 4)
    assert attacks
    for attack, *_, tests in attacks:
        assert named_in(tests), f"no test for: {attack}"
        problems = [what for name in named_in(tests) if (what := problem(name))]
        assert not problems, attack


def test_no_attack_stands_where_it_is_not_looked_for() -> None:
    seen = sum(len(rows(_section(attacker), 4)) for attacker in _ATTACKERS)
    assert seen == len(rows(_PAGE, 4))
    assert len(re.findall(r"^\| attack \|", _PAGE, re.MULTILINE)) == len(_ATTACKERS)


def test_every_test_that_the_page_names_anywhere_is_there() -> None:
    assert not [what for name in named_in(_PAGE) if (what := problem(name))]
    assert len(re.findall(r"\.py::", _PAGE)) == len(named_in(_PAGE))


def test_every_test_of_an_attack_is_in_the_threat_model() -> None:
    """tests/attacks is named by attack: what is tried there is in the page."""
    files = (EXPLANATION.parents[1] / "tests" / "attacks").glob("test_*.py")
    missing = [path.name for path in files if f"tests/attacks/{path.name}::" not in _PAGE]
    assert not missing


def test_what_is_not_defended_is_said() -> None:
    assert len(re.findall(r"^- \*\*", _section("Not defended"), re.MULTILINE)) >= 10
