"""Short names for the board's modules, as .mpy has them.

MicroPython keeps every name it has ever met in memory, and every .mpy holds those it uses. Three
kinds are nobody's business but ours, and become short ones that many of them share:

- private names of a module: `_0`, `_1`, ..., the same few dozen in all modules;
- public functions, classes and constants of inner modules (`is_inner`), where nothing leads to
  them but an import or `module.name`: `_0`, ... too, none of them twice in one module;
- arguments that are given by place and never by name, but for those of functions that the API
  reference documents: `_a`, `_b`, ... in each function.

`python -m benchmarks runtime` shows what that is worth. Names are left as they are unless it is
certain that no other module has a hand in them.
"""

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping
from string import ascii_lowercase

# What the API reference documents of the board's packages: applications may use all of it. A test
# holds this against docs/reference/api.
DOCUMENTED = frozenset(
    (
        "dice", "dice.input_values", "dice.certificate", "dice.chain", "dice.evidence",
        "dice.server_certificate", "dice.pem",
        "esp32_akri", "esp32_akri.server",
        "esp_image", "esp_image.errors", "esp_image.parser", "esp_image.header",
        "esp_image.expected", "esp_image.acceptance", "esp_image.signature", "esp_image.readback",
        "esp_image.chips", "esp_image.build", "esp_image.stamp", "esp_image.keys",
        "esp_partition", "esp_partition.table", "esp_partition.csv", "esp_partition.otadata",
        "esp_partition.otadata_changes",
        "ota_crypto", "ota_crypto.hmac", "ota_crypto.hkdf", "ota_crypto.hmac_drbg",
        "ota_crypto.p256", "ota_crypto.rsa_pss",
        "ota_service", "ota_service.service", "ota_service.config", "ota_service.errors",
        "ota_service.confirmation", "ota_service.self_test", "ota_service.provision",
        "ota_service.device_identity", "ota_service.boards.esp32",
    )
)  # fmt: skip
_BUILT_IN = {"Exception", "ValueError", "OSError", "RuntimeError", "object", "dict", "tuple"}
# Attributes of what is built in; not ours to rename, whatever is called so beside them.
_FOREIGN = {*dir(builtins)}.union(*map(dir, (str, bytes, bytearray, int, list, dict, tuple, set)))


def is_inner(module: str) -> bool:
    """Whether only modules of ours import this one."""
    return module not in DOCUMENTED


def shorten(
    sources: Mapping[str, str],
    others: Iterable[str] = (),
    inner: Callable[[str], bool] = lambda _: False,
) -> dict[str, str]:
    """The sources with short names, by the same keys.

    sources: of all our modules that can meet in one program, by their paths, `package/module.py`.
    others: sources that are loaded with them as they are. inner(module): tells of a dotted name
    whether nobody else imports it; without it no public name changes. Raises SyntaxError.
    """
    modules = {key: _Module(ast.parse(text), _dotted(key)) for key, text in sources.items()}
    foreign = [_Module(ast.parse(text), "") for text in others]
    kept: set[str] = set()
    for module in modules.values():
        kept |= module.shared
    for module in foreign:
        kept |= module.shared | module.own
    by_keyword = set().union(*(module.by_keyword for module in (*modules.values(), *foreign)))
    for module in modules.values():
        _Arguments(by_keyword, inner(module.name)).visit(module.tree)
    common = _common_names(list(modules.values()), foreign, inner)
    taken = _chosen(common, modules.values(), kept)
    short = {}
    for key, module in modules.items():
        names = {name: taken[name] for name, users in common.items() if module in users}
        names |= _numbered(module, kept | set(names.values()))
        _Renaming(names, module, common, taken).visit(module.tree)
        short[key] = ast.unparse(module.tree)
    return short


def _dotted(path: str) -> str:
    return str(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _short() -> Iterator[str]:
    return map("_{}".format, range(1 << 16))


def _numbered(module: "_Module", kept: set[str]) -> dict[str, str]:
    names = sorted(module.own - module.constants - kept)
    free = (name for name in _short() if name not in module.own | kept)
    return dict(zip(names, free, strict=False))


class _Module:
    """What a module's tree tells of its names.

    own: private ones that it defines, as function, class, variable, argument or attribute of
    `self`. constants: of them, `_X = const(...)`, which the compiler leaves out anyway.
    shared: private ones that it uses without defining them, or on anything but `self`, imports,
    passes by keyword or has as a string; and all of a module with a class whose base is from
    elsewhere.
    top: public names that it defines at its top. imports: (module, name) by local name.
    by_keyword: names of arguments that are given by name.
    """

    def __init__(self, tree: ast.Module, name: str) -> None:
        self.tree = tree
        self.name = name
        self.own: set[str] = set()
        self.constants: set[str] = set()
        self.shared: set[str] = set()
        self.by_keyword: set[str] = set()
        self.imports: dict[str, tuple[str, str]] = {}
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
        self.top = {name for name in _bound_at_top(tree.body) if not name.startswith("_")}

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
            case ast.Attribute(attr=name):
                self.shared.add(name)
            case ast.keyword(arg=str(name)):
                self.shared.add(name)
                self.by_keyword.add(name)
            case ast.Constant(value=str(text)):
                self.shared.add(text)
            case ast.ImportFrom(names=aliases):
                for alias in aliases:
                    self.shared.update((*alias.name.split("."), alias.asname or alias.name))
                    found = self._origin(node), alias.name
                    self.imports[alias.asname or alias.name] = found
            case ast.Import(names=aliases):
                for alias in aliases:
                    self.shared.update((*alias.name.split("."), alias.asname or alias.name))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="const"))):
                self.constants.add(name)

    def _origin(self, node: ast.ImportFrom) -> str:
        """The dotted name of what is imported from; a module here is never a package's own."""
        if not node.level:
            return node.module or ""
        package = self.name.rpartition(".")[0] or self.name
        return ".".join(filter(None, (package, node.module)))

    def leads_to(self, node: ast.Attribute) -> tuple[str, str] | None:
        """(module, name) where this is a name of an imported module, else None."""
        if isinstance(node.value, ast.Name) and node.value.id in self.imports:
            return ".".join(self.imports[node.value.id]), node.attr
        return None


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _is_among(base: ast.expr, classes: set[str]) -> bool:
    return isinstance(base, ast.Name) and base.id in classes


def _bound_at_top(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that these statements define, those in `if` and `try` included."""
    for node in body:
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                yield name
            case ast.Assign(targets=targets):
                for target in targets:
                    for each in ast.walk(target):
                        if isinstance(each, ast.Name):
                            yield each.id
            case ast.If() | ast.Try():
                handlers = [handler.body for handler in getattr(node, "handlers", ())]
                for part in (node.body, node.orelse, *handlers):
                    yield from _bound_at_top(part)


# -- names that modules of ours have in common -----------------------------------------------------


def _common_names(
    modules: list[_Module], foreign: list[_Module], inner: Callable[[str], bool]
) -> dict[str, set[_Module]]:
    """Public names to shorten, and the modules in which each stands for itself."""
    named = {module.name: module for module in modules}
    candidates: dict[str, set[_Module]] = {}
    excluded = set(_FOREIGN)
    for module in modules:
        if inner(module.name):
            for name in module.top:
                candidates.setdefault(name, set()).add(module)
        else:
            excluded |= module.top
        excluded |= set(module.name.split("."))
    for module in foreign:
        excluded |= _all_names(module.tree)
    for module in modules:
        if not inner(module.name):
            excluded |= {node.arg for node in ast.walk(module.tree) if isinstance(node, ast.arg)}
        for name, is_plain in _uses(module, named):
            if not is_plain:
                excluded.add(name)
            elif name in candidates:
                candidates[name].add(module)
    for name, users in candidates.items():
        # The compiler leaves out a constant with a private name, which nobody could import then.
        if len(users) > 1 and any(name in user.constants for user in users):
            excluded.add(name)
    return {name: users for name, users in candidates.items() if name not in excluded}


def _uses(module: _Module, named: Mapping[str, _Module]) -> Iterator[tuple[str, bool]]:
    """Each use of a name but as a variable, and whether it is plain: imported from a module of
    ours that defines it, or asked of one. A class that derives from another, as exceptions do,
    may be shown by its name."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(attr=name):
                origin = module.leads_to(node)
                yield name, origin is not None and _defines(named, *origin)
            case ast.ImportFrom(names=aliases):
                for alias in aliases:
                    known = _defines(named, module._origin(node), alias.name)
                    yield alias.name, known and not alias.asname
                    yield alias.asname or "", False
            case ast.Import(names=aliases):
                for alias in aliases:
                    for part in (*alias.name.split("."), alias.asname or ""):
                        yield part, False
            case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                yield name, False
            case ast.ClassDef(name=name, bases=bases, body=body):
                for inside in _bound_at_top(body):
                    yield inside, False
                if bases:
                    yield name, False


def _defines(named: Mapping[str, _Module], module: str, name: str) -> bool:
    return module in named and name in named[module].top


def _all_names(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "arg", "asname", "value"):
            text = getattr(node, field, None)
            if isinstance(text, str):
                found |= {text, *text.split(".")}
    return found


def _chosen(
    common: Mapping[str, set[_Module]], modules: Iterable[_Module], kept: set[str]
) -> dict[str, str]:
    """A short name for each, such that no two of a module are the same."""
    taken = {module: kept | module.own for module in modules}
    chosen = {}
    for name in sorted(common, key=lambda name: (-len(common[name]), name)):
        users = common[name]
        chosen[name] = next(
            short for short in _short() if not any(short in taken[user] for user in users)
        )
        for user in users:
            taken[user].add(chosen[name])
    return chosen


class _Renaming(ast.NodeVisitor):
    """Renames a module's names in place, wherever they stand; a common name of another module
    only where it is asked of that module."""

    def __init__(
        self,
        names: Mapping[str, str],
        module: _Module,
        common: Mapping[str, set[_Module]],
        chosen: Mapping[str, str],
    ) -> None:
        self._names = names
        self._module = module
        self._common = common
        self._chosen = chosen

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.Global() | ast.Nonlocal():
                node.names = [self._names.get(name, name) for name in node.names]
            case ast.alias(name=name):
                node.name = self._chosen.get(name, name) if name in self._common else name
            case ast.keyword():
                pass
            case ast.Attribute(attr=name):
                if name not in self._common or self._module.leads_to(node):
                    node.attr = self._names.get(name, name)
            case _:
                for field in ("name", "id", "arg"):
                    name = getattr(node, field, None)
                    if isinstance(name, str):
                        setattr(node, field, self._names.get(name, name))
        self.generic_visit(node)


# -- arguments ------------------------------------------------------------------------------------


class _Arguments(ast.NodeVisitor):
    """Gives arguments short names in place, where nobody gives them by name.

    by_keyword: names that somebody gives. inner: whether that holds for public functions too; else
    it does for those that are private, or within a private class or another function.
    """

    def __init__(self, by_keyword: set[str], inner: bool) -> None:
        self._by_keyword = by_keyword
        self._hidden = inner
        self._depth = 0

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within(node, _is_private(node.name))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._function(node, node.body, _is_private(node.name))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body], True)

    def _within(self, node: ast.AST, hidden: bool) -> None:
        before, self._hidden = self._hidden, self._hidden or hidden
        self.generic_visit(node)
        self._hidden = before

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        body: list[ast.AST],
        hidden: bool,
    ) -> None:
        depth = self._depth
        if self._hidden or hidden:
            names = self._shortened(node, body)
            for argument in _arguments(node):
                argument.arg = names.get(argument.arg, argument.arg)
            for part in body:
                _Locals(names).visit(part)
            self._depth += len(names)
        before, self._hidden = self._hidden, True
        for part in body:
            self.visit(part)
        self._hidden, self._depth = before, depth

    def _shortened(self, node: ast.AST, body: list[ast.AST]) -> dict[str, str]:
        """Nested functions count on, so that none hides an outer one's."""
        used = {name for part in (node, *body) for name in _all_names(part)}
        free = [name for name in map("_{}".format, ascii_lowercase) if name not in used]
        names = [argument.arg for argument in _arguments(node)]
        names = [name for name in names if not (name in ("self", "cls") or name.startswith("_"))]
        names = [name for name in names if name not in self._by_keyword | _bound_otherwise(body)]
        return dict(zip(names, free[self._depth :], strict=False))


def _arguments(node: ast.AST) -> list[ast.arg]:
    found = node.args  # type: ignore[attr-defined]
    every = [*found.posonlyargs, *found.args, found.vararg, *found.kwonlyargs, found.kwarg]
    return [argument for argument in every if argument is not None]


def _bound_otherwise(body: Iterable[ast.AST]) -> set[str]:
    """Names that are more than a variable: imported, or an attribute of a class within."""
    found: set[str] = set()
    for part in body:
        for node in ast.walk(part):
            match node:
                case ast.alias(name=name, asname=asname):
                    found |= {*name.split("."), asname or name}
                case ast.ClassDef(body=statements):
                    found |= set(_bound_at_top(statements))
    return found


class _Locals(ast.NodeVisitor):
    """Renames variables in place, and nothing else that is called so."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name):
                node.id = self._names.get(name, name)
            case ast.arg(arg=name):
                node.arg = self._names.get(name, name)
            case ast.ExceptHandler(name=str(name)):
                node.name = self._names.get(name, name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                node.name = self._names.get(name, name)
            case ast.Global() | ast.Nonlocal():
                node.names = [self._names.get(name, name) for name in node.names]
        self.generic_visit(node)
