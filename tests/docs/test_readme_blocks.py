"""README.md: every block is covered. tests/test_readme.py runs its commands and its firmware; here
is what it shows."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.terminals import Terminal

README = blocks(ROOT / "README.md")
# The first words of each block, in the page's order, and what covers it.
COVERED = {
    "$ make demo": "run here",
    "$ make test": "this very run; its figures are of one",
    "operator          board": "a picture",
    "import esp32_akri": "tests/test_readme.py: served by a virtual board",
    "espsecure generate-signing-key": "tests/test_readme.py: run",
    "for version in 1.0.0 2.0.0": "tests/test_readme.py: run",
}


def test_every_block_is_covered() -> None:
    for each, words in zip(README, COVERED, strict=True):
        assert each.text.startswith(words), each


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "make"))), reason="no bash or make here")
def test_make_demo_prints_what_the_page_shows(checkout: Path) -> None:
    (shown,) = [each.text for each in README if each.text.startswith("$ make demo\n")]
    terminal = Terminal(checkout)
    try:
        terminal.run("export COLUMNS=80", None)
        printed = terminal.run("make demo", None)
    finally:
        terminal.close()
    beginning = masked(shown.removeprefix("$ make demo\n").removesuffix("...\n"))
    assert masked(printed).startswith(beginning), (printed, beginning)


def masked(text: str) -> str:
    """Times, ports and the width of bars differ, and with them where a line is folded."""
    text = re.sub(r"\d+(\.\d+)*", "0", re.sub(r"━+", "━", text))
    return " ".join(text.split())


def test_make_test_is_a_target_of_the_makefile() -> None:
    assert re.search(r"^test: ", (ROOT / "Makefile").read_text(), re.M)
