"""Names in the stubs of MicroPython's modules, and the lists of those of earlier versions.

    pip download --no-deps -d wheels micropython-esp32-stubs==1.24.1.post2
    python -m tests.esp32.stub_names wheels/*.whl

writes stub_names/1.24.1.post2.json for each wheel: its name and SHA-256, and of the modules the
names, with those of classes. The newest stubs are those installed (constraints.txt); whoever moves
that pin to another MicroPython makes the list of the one before.
"""

import ast
import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

MODULES = ("esp", "esp32", "machine", "network")
FOLDER = Path(__file__).parent / "stub_names"

# {module: {name: names in it}}; a name that is no class has none
Names = dict[str, dict[str, list[str]]]


def names_in(source: str) -> dict[str, list[str]]:
    """The public names of a stub file, and of each class those in it, its bases' there included."""
    tree = ast.parse(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, list[str]] = {}
    for node in tree.body:
        for name in _defined(node):
            found[name] = sorted(_members(classes[name], classes)) if name in classes else []
    return {name: found[name] for name in sorted(found) if not name.startswith("_")}


def _members(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> set[str]:
    found = {name for part in node.body for name in _defined(part)}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            found |= _members(classes[base.id], classes)
    return {name for name in found if not name.startswith("_")}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def of_wheel(wheel: Path) -> dict[str, Any]:
    """The list of a wheel, as it is kept."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name: names_in(archive.read(f"{name}.pyi").decode()) for name in MODULES}
    return {
        "wheel": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "names": names,
    }


def kept() -> dict[str, Names]:
    """{version of the stubs: names} of the versions before the installed one."""
    return {
        path.stem: json.loads(path.read_text())["names"] for path in sorted(FOLDER.glob("*.json"))
    }


def main(wheels: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for wheel in map(Path, wheels):
        version = wheel.name.split("-")[1]
        listed = of_wheel(wheel)
        rows = [f'"{key}": {json.dumps(listed[key])}' for key in ("wheel", "sha256")]
        modules = [
            f'"{module}": {{\n'
            + ",\n".join(
                f"{json.dumps(name)}: {json.dumps(inner)}" for name, inner in names.items()
            )
            + "\n}"
            for module, names in listed["names"].items()
        ]
        rows.append('"names": {\n' + ",\n".join(modules) + "\n}")
        (FOLDER / f"{version}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
