"""Short private names for the board's modules, as .mpy has them.

MicroPython keeps every name it has ever met in memory, and every .mpy holds those it uses. The
private ones, some 400, are each one module's own business: there they become `_0`, `_1`, ..., the
same few dozen in all modules. `python -m benchmarks runtime` shows what that is worth.

Names are left as they are unless it is certain that no other module has a hand in them.
"""

import ast
from collections.abc import Iterable, Mapping

_BUILT_IN = {"Exception", "ValueError", "OSError", "RuntimeError", "object", "dict", "tuple"}


def shorten(sources: Mapping[str, str], others: Iterable[str] = ()) -> dict[str, str]:
    """The sources with short private names, by the same keys.

    sources: of all our modules that can meet in one program. others: sources that are loaded with
    them as they are. Raises SyntaxError.
    """
    modules = {key: _Module(ast.parse(text)) for key, text in sources.items()}
    kept: set[str] = set()
    for module in modules.values():
        kept |= module.shared
    for text in others:
        module = _Module(ast.parse(text))
        kept |= module.shared | module.own
    short = {}
    for key, module in modules.items():
        _Renaming(_numbered(module, kept)).visit(module.tree)
        short[key] = ast.unparse(module.tree)
    return short


def _numbered(module: "_Module", kept: set[str]) -> dict[str, str]:
    names = sorted(module.own - module.constants - kept)
    free = (name for name in map("_{}".format, range(1 << 16)) if name not in module.own | kept)
    return dict(zip(names, free, strict=False))


class _Module:
    """What a module's tree tells of its private names.

    own: those it defines, as function, class, variable, argument or attribute of `self`.
    constants: of them, `_X = const(...)`, which the compiler leaves out anyway.
    shared: those it uses without defining them, or on anything but `self`, imports, passes by
    keyword or has as a string; and all of a module with a class whose base is from elsewhere.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.own: set[str] = set()
        self.constants: set[str] = set()
        self.shared: set[str] = set()
        self._used: set[str] = set()
        classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        is_derived = False
        for node in ast.walk(tree):
            self._note(node)
            if isinstance(node, ast.ClassDef):
                is_derived |= any(not _is_among(base, classes | _BUILT_IN) for base in node.bases)
        self.own = set(filter(_is_private, self.own))
        self.shared |= self._used - self.own
        if is_derived:
            self.shared |= self.own
        self.shared = set(filter(_is_private, self.shared))

    def _note(self, node: ast.AST) -> None:
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.arg(arg=name)
                | ast.ExceptHandler(name=str(name))
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store())
            ):
                self.own.add(name)
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name):
                self._used.add(name)
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                self.shared.add(name)
            case ast.Constant(value=str(text)):
                self.shared.add(text)
            case ast.alias(name=name, asname=asname):
                self.shared.update((*name.split("."), asname or name))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="const"))):
                self.constants.add(name)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _is_among(base: ast.expr, classes: set[str]) -> bool:
    return isinstance(base, ast.Name) and base.id in classes


class _Renaming(ast.NodeVisitor):
    """Renames in place."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            node.names = [self._names.get(name, name) for name in node.names]
        elif not isinstance(node, (ast.alias, ast.keyword)):
            for field in ("name", "id", "attr", "arg"):
                name = getattr(node, field, None)
                if isinstance(name, str):
                    setattr(node, field, self._names.get(name, name))
        self.generic_visit(node)
