"""Which names micropython/short_names.py shortens, and that the board's code stays what it was."""

import ast
import re

import pytest

from tests import micropython_port

shorten = micropython_port.short_names().shorten

ALONE = """
from other import thing
_made = {}
class Board:
    _size = 4
    def __init__(self, flash):
        self._flash = flash
        self.slots = []
    def _read(self, _at):
        global _made
        _made = {}
        return self._flash, self._size, thing(_at)
"""


def test_what_is_a_modules_own_becomes_short_and_means_the_same() -> None:
    short = shorten({"m": ALONE})["m"]
    assert not re.search(r"_made|_size|_flash|_read|_at\b", short)
    assert "slots" in short and "__init__" in short and "(self, flash)" in short
    names: dict[str, object] = {"other": None}
    exec(short.replace("from other import thing", "thing = lambda at: at + 1"), names)
    board = names["Board"](b"\xff")  # type: ignore[operator]
    (read,) = [name for name in vars(type(board)) if callable(getattr(type(board), name))
               and name != "__init__"]  # fmt: skip
    assert getattr(board, read)(1) == (b"\xff", 4, 2)


def test_two_modules_get_the_same_few_names() -> None:
    short = shorten({"a": "_one = 1\n_two = 2", "b": "_three = 3\n_four = 4"})
    assert short == {"a": "_0 = 1\n_1 = 2", "b": "_1 = 3\n_0 = 4"}


@pytest.mark.parametrize(
    "other",
    [
        "from a import _mine",
        "import a\na._mine",
        "def use(board):\n    board._mine = 1",
        "def use(board):\n    return board._mine",
        "def use(board):\n    return getattr(board, '_mine')",
        "print(_mine)",
        "def use(f):\n    f(_mine=1)",
        "class Sub(Base):\n    def __init__(self):\n        self._mine = 2",
    ],
)
def test_what_another_module_may_have_a_hand_in_keeps_its_name(other: str) -> None:
    text = "class Base:\n    def __init__(self):\n        self._mine = 1\n        self._own = 2"
    short = shorten({"a": text, "b": other})
    assert "self._mine = 1" in short["a"] and "_own" not in short["a"]
    assert short["b"].count("_mine") == other.count("_mine")
    assert "self._mine = 1" in shorten({"a": text}, [other])["a"]


def test_a_short_name_is_none_that_is_there_already() -> None:
    short = shorten({"a": "_0 = 1\n_long = 2\nprint(_0, _long)\nfrom b import _1", "b": "_1 = 1"})
    names = re.findall(r"_\w+", short["a"])
    assert len(set(names)) == 3, short["a"]


def test_hundreds_of_names_less_and_the_public_ones_untouched() -> None:
    """What the board then does, test_board_library's updates show."""
    sources = {path.as_posix(): (micropython_port.ROOT / "src" / path).read_text()
               for path in micropython_port.board_sources(whole=True)}  # fmt: skip
    short = shorten(sources)
    before, after = (set().union(*map(identifiers, each.values())) for each in (sources, short))
    assert {name for name in before if not name.startswith("_")} == {
        name for name in after if not name.startswith("_")
    }
    assert len(before) - len(after) > 300


def identifiers(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        for field in ("id", "attr", "name", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                found.add(name)
    return found
