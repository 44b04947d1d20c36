"""Finds every error code in the source, by its syntax tree.

A code is a string that flows into something called `code`, `outcome` or `check`: an argument for a
parameter of that name (of a function, an exception or a dataclass), an attribute or a variable of
that name, or the default of one. A parameter of another name that flows into one of these is
followed to its callers. What can be neither read nor followed has to stand in _ELSEWHERE, with the
table that its values come from: nothing is left out quietly.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
SINKS = frozenset(("code", "outcome", "check"))
# (file, expression that cannot be read, `*` as in file names): where its values are, as (file, name
# of a table in it), or None: it is no code, or one that is found elsewhere.
_ELSEWHERE: dict[tuple[str, str], tuple[str, str] | None] = {
    ("dice_auth/attestation_endpoint.py", "verdict.failed[0]"): (
        "dice_auth/appraisal.py", "APPRAISAL_CHECKS"),
    # All of them in APPRAISAL_CHECKS, or of the certificate that an agent shows.
    ("dice_auth/*", "*CHECK*"): None,
    ("dice_auth/*", "*verdict.failed"): None,
    ("dice_auth/metrics.py", "_ADMIN_REFUSAL_COLUMN.items()"): None,
    ("dice_auth/admin_refusals.py", "next(*"): ("dice_auth/admin_refusals.py", "_ANSWERS"),
    ("ota_agent/*", "*OUTCOMES*"): None,
    ("dice_auth/policy.py", "passed.items()"): None,
    ("dice/server_certificate.py", "checks"): None,
    ("ota_service/agent_errors.py", "checks"): None,
    ("esp_image/errors.py", "failures[0][0]"): ("esp_image/acceptance.py", "(code, text)"),
    ("ota_service/agent_errors.py", "checks[0]"): ("dice/server_certificate.py", "(code, text)"),
    ("ota_service/agent_errors.py", "tls.certificate_error(error)"): None,  # one of those checks
    ("ota_service/agent_refusals.py", "name"): ("ota_service/agent_refusals.py", "_REFUSALS"),
    # What the attestation server said, which has it from its own table.
    ("ota_agent/verdict.py", "_object(reply.body).get('check')"): None,
    ("ota_agent/conversation.py", "read_failed_check(reply)"): None,
    # No codes: bytes of a pattern, a measurement, rows of Redis, an errno, text in a packet, a
    # task's result, a word in a log, a life of the power-cut harness.
    ("dice_auth/certificate_shape.py", "b'C' * 64"): None,
    ("dice_auth/certificate_shape.py", "match.group(*"): None,
    ("dice_auth/policy.py", "measured.code_hash"): None,
    ("dice_auth/redis_registry.py", "await self._*"): None,
    ("esp_image/build.py", "noise[payload - code_bytes:payload]"): None,
    ("ota_agent/tls_connection.py", "self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)"): (
        None),
    ("ota_service/ntp.py", "''.join([chr(c) if 32 < c < 127 else '?' for c in packet[12:16]])"): (
        None),
    ("ota_service/patience.py", "[]"): None,
    ("ota_service/self_test.py", "_endpoints_answer"): None,
    ("ota_service/self_test.py", "_agent_is_there"): None,
    ("ota_service/endpoints.py", "type(error).__name__"): None,
    ("virtual_esp32/firmware_runs.py", "self.recorder.run(*"): None,
}  # fmt: skip
# What is called so there is something else: ESP-IDF's numbers, results of the power-cut harness.
_OTHER = ("virtual_esp32/nvs", "virtual_esp32/power_cut", "virtual_esp32/recorded_runs")
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """The codes in some rooms. `codes`: code -> the files that it stands in; `unreadable`: what
    flows into a code and is neither read nor in _ELSEWHERE."""

    def __init__(self, *rooms: str, sinks: frozenset[str] = SINKS) -> None:
        self._sinks = sinks
        self.codes: dict[str, set[str]] = {}
        self.unreadable: list[str] = []
        self.used: set[tuple[str, str]] = set()
        paths = [path for room in rooms for path in sorted((SOURCE / room).rglob("*.py"))]
        self._files = {str(path.relative_to(SOURCE)): _File(path) for path in paths}
        for name, file in self._files.items():
            for scope, node in file.nodes if not name.startswith(_OTHER) else ():
                for value in self._flowing(name, node):
                    for code in self._values(name, scope, value):
                        if code:  # an empty one means there is none
                            self.codes.setdefault(code, set()).add(name)

    def text(self) -> str:
        """All of the source that was read."""
        return "\n".join((SOURCE / name).read_text() for name in self._files)

    def _flowing(self, name: str, node: ast.AST) -> Iterator[ast.expr]:
        """What flows into a code at this very node."""
        if isinstance(node, ast.Call):
            for function, arguments in _called(node):
                for parameters in self._definitions(name, function):
                    for word in self._sinks & set(parameters):
                        yield from _given(node, arguments, parameters, word)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value, self._sinks)
        elif isinstance(node, ast.For | ast.comprehension):
            yield from self._looped(name, node.target, node.iter)
        elif isinstance(node, _FUNCTIONS):
            positional = node.args.args[len(node.args.args) - len(node.args.defaults) :]
            pairs = [
                *zip(positional, node.args.defaults, strict=True),
                *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
            ]
            for arg, value in pairs:
                if arg.arg in self._sinks and value is not None:
                    yield value

    def _looped(self, name: str, target: ast.expr, rows: ast.expr) -> Iterator[ast.expr]:
        """What a loop gives a code: the items of a table in the file, or in place; else `rows`."""
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        for at, each in enumerate(targets):
            if isinstance(each, ast.Name) and each.id.lstrip("_") in self._sinks:
                word = rows.id if isinstance(rows, ast.Name) else ""
                found = self._files[name].tables.get(word, rows)
                for row in found.elts if isinstance(found, ast.Tuple | ast.List) else [rows]:
                    is_row = isinstance(row, ast.Tuple) and isinstance(target, ast.Tuple)
                    yield row.elts[at] if is_row else row

    def _definitions(self, name: str, function: ast.expr) -> Iterator[list[str]]:
        """The parameters of whatever this may call: by a name, what the file defines or imports; as
        an attribute, any of that name in the rooms, private ones in the same file only."""
        file = self._files[name]
        if isinstance(function, ast.Name):
            for each in (name, file.imported.get(function.id, "")):
                if each in self._files and function.id in self._files[each].parameters:
                    yield self._inherited(each, function.id)
        elif isinstance(function, ast.Attribute):
            if ast.unparse(function) == "super().__init__":
                yield from (self._inherited(name, one) for one in file.parents)
            for each, other in self._files.items():
                is_seen = each == name or not function.attr.startswith("_")
                if is_seen and function.attr in other.parameters:
                    yield self._inherited(each, function.attr)

    def _inherited(self, name: str, word: str) -> list[str]:
        """An exception without an __init__ has its parent's."""
        file = self._files[name]
        found = file.parameters[word]
        parent = file.parent_of.get(word)
        if found or parent is None:
            return found
        where = name if parent in file.parameters else file.imported.get(parent, "")
        if where in self._files and parent in self._files[where].parameters:
            return self._inherited(where, parent)
        return found

    def _values(self, name: str, scope: ast.AST | None, value: ast.expr) -> Iterator[str]:
        if isinstance(value, ast.Constant):
            if isinstance(value.value, str):
                yield value.value
        elif isinstance(value, ast.IfExp):
            yield from self._values(name, scope, value.body)
            yield from self._values(name, scope, value.orelse)
        elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            right = list(self._values(name, scope, value.right))
            for left in self._values(name, scope, value.left):
                yield from (left + end for end in right)
        elif isinstance(value, ast.JoinedStr):
            texts = [""]
            for part in value.values:
                inner = part.value if isinstance(part, ast.FormattedValue) else part
                more = list(self._values(name, scope, inner))
                texts = [text + end for text in texts for end in more]
            yield from texts
        elif isinstance(value, ast.Name | ast.Attribute):
            yield from self._named(name, scope, value)
        else:
            yield from self._elsewhere(name, value)

    def _named(
        self, name: str, scope: ast.AST | None, value: ast.Name | ast.Attribute
    ) -> Iterator[str]:
        """Of a name: another sink, a constant, or a parameter, whose callers know."""
        word = value.id if isinstance(value, ast.Name) else value.attr
        if word.lstrip("_") in self._sinks:
            return
        constants = [self._files[name].constants.get(word)]
        constants += [file.constants.get(word) for file in self._files.values()]
        known = [constant for constant in constants if constant is not None]
        if known:
            yield known[0]
        elif isinstance(scope, _FUNCTIONS) and word in _parameters(scope):
            for where, file in self._files.items():
                if where == name or not scope.name.startswith("_"):
                    for caller, found in _callers(file, scope, word):
                        yield from self._values(where, caller, found)
        else:
            yield from self._elsewhere(name, value)

    def _elsewhere(self, name: str, value: ast.expr) -> Iterator[str]:
        text = ast.unparse(value)
        for key, place in _ELSEWHERE.items():
            if fnmatch(name, key[0]) and (text == key[1] or fnmatch(text, key[1])):
                self.used.add(key)
                yield from table(*place) if place is not None else ()
                return
        self.unreadable.append(f"{name}:{value.lineno}: {text}")


class _File:
    """One file's tree and the names in it. nodes: each with the function that it stands in.
    parameters: of each function, method and class; imported: name -> file that it is from."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        self.nodes = list(_scoped(tree))
        self.parameters: dict[str, list[str]] = {}
        self.parent_of: dict[str, str] = {}
        self.imported: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.tables: dict[str, ast.expr] = {}
        for _, node in self.nodes:
            if isinstance(node, ast.ClassDef):
                self.parameters[node.name] = _fields(node)
                if node.bases:
                    self.parent_of[node.name] = ast.unparse(node.bases[0])
            elif isinstance(node, _FUNCTIONS) and node.name != "__init__":
                self.parameters.setdefault(node.name, _parameters(node))
            elif isinstance(node, ast.ImportFrom):
                package = path.parent.relative_to(SOURCE).parts if node.level else ()
                module = "/".join([*package, *(node.module or "").split(".")])
                self.imported.update({each.name: f"{module}.py" for each in node.names})
        for node in tree.body:
            value = node.value if isinstance(node, ast.Assign) else None
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                self.tables[ast.unparse(node.target)] = node.value
            elif value is not None:
                # const((...)) is the board's way to write a table
                inner = value.args[0] if isinstance(value, ast.Call) and value.args else value
                self.tables[ast.unparse(node.targets[0])] = inner
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                self.constants[ast.unparse(node.targets[0])] = value.value

    @property
    def parents(self) -> list[str]:
        """Of the classes here: their parents that are here as well."""
        return [parent for parent in self.parent_of.values() if parent in self.parameters]


def _callers(
    file: _File, called: ast.FunctionDef | ast.AsyncFunctionDef, word: str
) -> Iterator[tuple[ast.AST | None, ast.expr]]:
    """What a function's callers in a file give for this parameter, each with where it stands."""
    for caller, node in file.nodes:
        if isinstance(node, ast.Call):
            for function, arguments in _called(node):
                is_it = ast.unparse(function).split(".")[-1] == called.name
                needed = len(_parameters(called)) - len(called.args.defaults)
                if is_it and len(arguments) + len(node.keywords) >= needed:
                    for found in _given(node, arguments, _parameters(called), word):
                        yield caller, found


def table(name: str, word: str) -> Iterator[str]:
    """The codes in a table of a file: of codes, or of rows whose third item is one; `(code, text)`
    is no name but every pair that begins with a literal."""
    tree = ast.parse((SOURCE / name).read_text())
    if word == "(code, text)":
        for node in ast.walk(tree):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                first = node.elts[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value
        return
    value = getattr(import_module(name.removesuffix(".py").replace("/", ".")), word)
    for row in value:
        yield row if isinstance(row, str) else row[2]


def _called(call: ast.Call) -> list[tuple[ast.expr, list[ast.expr]]]:
    """What is called with which arguments: also by partial(f, ...) and (f if x else g)(...)."""
    if ast.unparse(call.func) == "partial" and call.args:
        return [(call.args[0], call.args[1:])]
    if isinstance(call.func, ast.IfExp):
        return [(call.func.body, call.args), (call.func.orelse, call.args)]
    return [(call.func, call.args)]


def _given(
    call: ast.Call, arguments: list[ast.expr], parameters: list[str], word: str
) -> Iterator[ast.expr]:
    """What a call gives for this parameter."""
    yield from (each.value for each in call.keywords if each.arg == word)
    at = parameters.index(word)
    if at < len(arguments):
        yield arguments[at]


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Without self; those by name alone after the others."""
    names = [arg.arg for arg in function.args.args + function.args.kwonlyargs]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _fields(node: ast.ClassDef) -> list[str]:
    """What making one takes: parameters of its __init__, or a dataclass's fields."""
    for method in node.body:
        if isinstance(method, _FUNCTIONS) and method.name == "__init__":
            return _parameters(method)
    annotated = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return [each.target.id for each in annotated if isinstance(each.target, ast.Name)]


def _assigned(target: ast.expr, value: ast.expr, sinks: frozenset[str]) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple):
        if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
            for left, right in zip(target.elts, value.elts, strict=True):
                yield from _assigned(left, right, sinks)
        elif any(_is_sink(each, sinks) for each in target.elts):
            yield value  # whatever it is, it has to be named
    elif _is_sink(target, sinks):
        yield value


def _is_sink(target: ast.expr, sinks: frozenset[str]) -> bool:
    word = getattr(target, "id", getattr(target, "attr", ""))
    return word.lstrip("_") in sinks


def _scoped(
    tree: ast.AST, scope: ast.AST | None = None
) -> Iterator[tuple[ast.AST | None, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        yield scope, node
        yield from _scoped(node, node if isinstance(node, _FUNCTIONS) else scope)


def stale(*sources: Source) -> set[tuple[str, str]]:
    """Entries of _ELSEWHERE that no source has any more."""
    return set(_ELSEWHERE) - {key for source in sources for key in source.used}
