"""Tests that a page names, `tests/folder/test_file.py::test_name`, and whether they are there."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXPLANATION = ROOT / "docs" / "explanation"
_NAMED = re.compile(r"`([\w/]+\.py::[\w:]+)`")
_NEVER_RUN = {"skip", "xfail"}


def named_in(text: str) -> list[str]:
    """The tests named in a piece of a page, as written."""
    return _NAMED.findall(text)


def problem(name: str) -> str | None:
    """What is wrong with a named test; None: it is a test that pytest runs."""
    file, _, path = name.partition("::")
    if not re.fullmatch(r"tests/(\w+/)*test_\w+\.py", file):
        return f"{name}: no file of tests, expected tests/.../test_....py"
    if not (ROOT / file).is_file():
        return f"{name}: no such file"
    return None if path in _tests_of(file) else f"{name}: no such test in the file, or one not run"


@functools.cache
def _tests_of(file: str) -> frozenset[str]:
    """`test_name` and `TestClass::test_name` of a file, without those that are always skipped."""
    tree = ast.parse((ROOT / file).read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found |= {f"{node.name}::{name}" for name in _functions(node.body)}
    return frozenset(found | _functions(tree.body))


def _functions(body: list[ast.stmt]) -> set[str]:
    return {
        node.name
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not _is_never_run(node)
    }


def _is_never_run(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr in _NEVER_RUN:
            return True
    return False


def rows(page: str, columns: int) -> list[list[str]]:
    """The cells of every row of every table of so many columns, without heads and rules."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {i - 1 for i, row in enumerate(cells) if set("".join(row)) <= {"-", ":"}}
    return [
        row
        for i, row in enumerate(cells)
        if len(row) == columns and i not in heads and i - 1 not in heads
    ]
