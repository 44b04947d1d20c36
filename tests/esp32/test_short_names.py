"""Which names micropython/short_names.py shortens, and that the board's code stays what it was."""

import ast
import builtins
import re
import symtable

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


ARGUMENTS = """
def _both(first, second=2):
    def inner(third):
        return first + third
    return inner(second)
def both(fourth, *, fifth=0):
    return _both(fourth) + fifth
"""


def test_arguments_that_are_given_by_place_become_short_and_documented_ones_stay() -> None:
    short = shorten({"m.py": ARGUMENTS})["m.py"]
    assert not re.search(r"first|second|third", short)
    assert "fourth, *, fifth=0" in short
    inner = shorten({"m.py": ARGUMENTS}, inner=lambda _: True)["m.py"]
    assert not re.search(r"fourth", inner)
    for text in (short, inner):
        names: dict[str, object] = {}
        exec(text, names)
        (both,) = [value for name, value in names.items() if name in ("both", "_1")]
        assert both(1) == 3  # type: ignore[operator]


@pytest.mark.parametrize("other", ["def use(f):\n    f(third=1)", "use(third=1)"])
def test_an_argument_that_anybody_gives_by_name_keeps_its_name(other: str) -> None:
    sources = {"m.py": ARGUMENTS}
    assert "def inner(third)" in shorten({**sources, "n.py": other}, inner=lambda _: True)["m.py"]
    assert "def inner(third)" in shorten(sources, [other], inner=lambda _: True)["m.py"]


DEFINES = "LIMIT = 3\ndef work(data):\n    return data\nclass Tool:\n    pass"
USES = "from . import a\nfrom .a import work, Tool\nprint(a.LIMIT, work(Tool()), a.work(1))"


def test_what_only_modules_of_ours_import_is_short_in_all_of_them() -> None:
    sources = {"p/a.py": DEFINES, "p/b.py": USES}
    short = shorten(sources, inner=lambda name: name == "p.a")
    for text in short.values():
        assert not re.search("LIMIT|work|Tool", text)
    (line,) = re.findall(r"from \.a import (\w+), (\w+)", short["p/b.py"])
    assert all(name in short["p/a.py"] for name in line)
    assert shorten(sources) == {key: ast.unparse(ast.parse(sources[key])) for key in sources}


@pytest.mark.parametrize(
    "other",
    [
        "thing.work()",
        "class Other:\n    def work(self):\n        pass",
        "class Other:\n    work = 1",
        "print('work')",
        "f(work=1)",
        "from .a import work as labour",
        "from elsewhere import work",
        "import work",
    ],
)
def test_what_may_be_something_else_keeps_its_name(other: str) -> None:
    sources = {"p/a.py": DEFINES, "p/b.py": USES, "p/c.py": other}
    short = shorten(sources, inner=lambda _: True)
    assert "def work(" in short["p/a.py"] and "import work, _" in short["p/b.py"]
    assert other.count("work") == short["p/c.py"].count("work")


def test_so_does_what_another_source_has_or_a_documented_module() -> None:
    sources = {"p/a.py": DEFINES, "p/b.py": USES}
    assert "work" in shorten(sources, ["work"], lambda _: True)["p/a.py"]
    documented = {**sources, "p/d.py": "def work(data):\n    return data"}
    assert "def work(" in shorten(documented, inner=lambda name: name != "p.d")["p/a.py"]


def test_a_constant_is_left_out_by_the_compiler_only_if_nobody_imports_it() -> None:
    a = "from micropython import const\nHERE = const(1)\nTHERE = const(2)\nprint(HERE, THERE)"
    short = shorten({"p/a.py": a, "p/b.py": "from .a import THERE"}, inner=lambda _: True)
    assert "THERE = const(2)" in short["p/a.py"] and "import THERE" in short["p/b.py"]
    assert re.search(r"_\d+ = const\(1\)", short["p/a.py"])


def test_what_the_api_reference_documents_is_known() -> None:
    pages = (micropython_port.ROOT / "docs" / "reference" / "api").glob("*.md")
    named = {
        name for page in pages for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.M)
    }
    modules = {name[: re.search(r"\.[A-Z]|$", name).start()] for name in named}  # type: ignore[union-attr]
    ours = {name for name in modules if name.split(".")[0] in micropython_port.BOARD_PACKAGES}
    assert ours == micropython_port.short_names().DOCUMENTED


def board_sources() -> dict[str, str]:
    return {path.as_posix(): (micropython_port.ROOT / "src" / path).read_text()
            for path in micropython_port.board_sources(whole=True)}  # fmt: skip


def test_hundreds_of_names_less_and_the_documented_ones_untouched() -> None:
    """What the board then does, test_board_library's updates show."""
    sources = board_sources()
    names = micropython_port.short_names()
    short = shorten(sources, inner=names.is_inner)
    before, after = (set().union(*map(identifiers, each.values())) for each in (sources, short))
    assert len(before) - len(after) > 500
    for key in sources:
        if not names.is_inner(names._dotted(key)):
            assert signatures(sources[key]) == signatures(short[key])


def test_every_name_that_a_short_module_uses_is_one_it_has() -> None:
    """Undefined globals, and imports from modules of ours that do not define what is asked for."""
    names = micropython_port.short_names()
    short = shorten(board_sources(), inner=names.is_inner)
    modules = {names._dotted(key): names._Module(ast.parse(text), names._dotted(key))
               for key, text in short.items()}  # fmt: skip
    tops = {name: set(names._bound_at_top(module.tree.body)) for name, module in modules.items()}
    for name, module in modules.items():
        known = assigned(module.tree) | {*dir(builtins), "ptr8", "ptr32", "uint", "__name__"}
        assert globals_used(ast.unparse(module.tree)) <= known, name
        for origin, asked in module.imports.values():
            if origin in modules and f"{origin}.{asked}" not in modules:
                strings = {node.value for node in ast.walk(modules[origin].tree)
                           if isinstance(node, ast.Constant)}  # fmt: skip
                assert asked in tops[origin] | {*modules[origin].imports} | strings, (name, asked)
        for node in ast.walk(module.tree):
            origin = module.leads_to(node) if isinstance(node, ast.Attribute) else None
            if origin and origin[0] in modules and re.fullmatch(r"_\d+", origin[1]):
                assert origin[1] in tops[origin[0]], (name, origin)


def assigned(tree: ast.Module) -> set[str]:
    table = symtable.symtable(ast.unparse(tree), "module", "exec")
    return {each.get_name() for each in table.get_symbols()
            if each.is_assigned() or each.is_imported() or each.is_namespace()}  # fmt: skip


def globals_used(text: str) -> set[str]:
    found = set()
    tables = [symtable.symtable(text, "module", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        found |= {each.get_name() for each in table.get_symbols()
                  if each.is_global() and each.is_referenced()}  # fmt: skip
    return found


def signatures(text: str) -> list[str]:
    """Each public function and method with its arguments, in public classes."""
    found = []

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                look(node.body, node.name + ".")
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and not re.match("_[^_]", node.name):
                arguments = [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)]
                found.append(f"{prefix}{node.name}({', '.join(arguments)})")

    look(ast.parse(text).body, "")
    return found


def identifiers(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        for field in ("id", "attr", "name", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                found.add(name)
    return found
