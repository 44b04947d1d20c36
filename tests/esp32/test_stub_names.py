"""Every name that code for the chip takes from `esp`, `esp32`, `machine` and `network` is in the
stubs of MicroPython 1.24 to the newest: stub_names.py."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

from tests.esp32 import stub_names
from tests.esp32.powered import FAKES
from tests.esp32.stub_names import MODULES, Names
from tests.micropython_port import ROOT

PACKAGE = "micropython-esp32-stubs"
FIRST_MINOR = 24
SERVICE = ROOT / "src" / "ota_service" / "service.pyi"
# What comes into the code as an argument, and what is called on it there
ARGUMENTS = {
    "self._watchdog": "machine.WDT",
    "self._interface": "network.WLAN",
    "station": "network.WLAN",
}
FILES = [
    *sorted((ROOT / "src" / "ota_service" / "boards").glob("*.py")),
    *(ROOT / "micropython" / name for name in ("boot.py", "main.py", "wifi.py")),
]


def used_names(source: str) -> set[str]:
    """Dotted names from MODULES: `esp32.Partition.find`; of what `Class(...)` and `Class.find(...)`
    return, under whatever name of the file, as `esp32.Partition.readblocks`."""
    tree = ast.parse(source)
    known = {**ARGUMENTS, **_imported(tree)}
    found = {name for name in known.values() if "." in name and name not in ARGUMENTS.values()}
    # Names of objects come to be known by assignments, which may stand behind their use.
    for _ in range(2):
        for node in ast.walk(tree):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets, value = node.targets, node.value
            elif isinstance(node, ast.For):
                targets, value = [node.target], node.iter
            for target in targets:
                if isinstance(value, ast.Call) and (name := _dotted(value, known)):
                    known[ast.unparse(target)] = name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := _dotted(node, known)):
            found.add(name)
    return found


def _imported(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update({n.asname or n.name: n.name for n in node.names if n.name in MODULES})
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES and not node.level:
            found.update({n.asname or n.name: f"{node.module}.{n.name}" for n in node.names})
    return found


def _dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    """What an expression is by its name in the stubs, an object by its class's."""
    if (name := known.get(ast.unparse(node))) is not None:
        return name
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value, known)):
        return f"{owner}.{node.attr}"
    if isinstance(node, ast.Call) and (called := _dotted(node.func, known)):
        # A class makes an object of its own; so does a function of it that finds some.
        return called if called.count(".") == 1 else called.rsplit(".", 1)[0]
    return None


def methods_of(protocol: str) -> list[str]:
    """The methods that ota_service calls on a board's objects."""
    tree = ast.parse(SERVICE.read_text())
    (found,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == protocol)
    return [part.name for part in found.body if isinstance(part, ast.FunctionDef)]


def all_used() -> set[str]:
    found = {name for path in FILES for name in used_names(path.read_text())}
    found |= {f"esp32.Partition.{name}" for name in methods_of("_Partition")}
    found |= {f"esp32.NVS.{name}" for name in methods_of("_Nvs")}
    return found


def installed() -> Names:
    """The names in the stubs that are installed here."""
    found = {}
    for module in MODULES:
        files = importlib.metadata.files(PACKAGE) or []
        (path,) = (Path(str(file.locate())) for file in files if file.name == f"{module}.pyi")
        found[module] = stub_names.names_in(path.read_text())
    return found


def minor(version: str) -> int:
    major, minor = version.split(".")[:2]
    assert major == "1"
    return int(minor)


@pytest.fixture(scope="module")
def stubs() -> dict[str, Names]:
    """{version: names}, the installed version last."""
    try:
        newest = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed")
    return {**stub_names.kept(), newest: installed()}


def test_names_are_found_wherever_they_are_used() -> None:
    """Of what there is in the code, one of each kind."""
    found = all_used()
    for name in (
        "esp.flash_read",
        "esp32.NVS",
        "esp32.Partition",  # from esp32 import Partition
        "esp32.Partition.RUNNING",
        "esp32.Partition.find",
        "esp32.Partition.readblocks",  # of one that find returned
        "esp32.Partition.writeblocks",  # only in ota_service
        "machine.RTC.datetime",
        "machine.WDT.feed",
        "machine.mem32",
        "network.STA_IF",
        "network.WLAN.isconnected",
        "network.WLAN.status",
    ):
        assert name in found, name


def test_a_name_that_is_not_in_the_stubs_is_seen() -> None:
    source = "import network as n\nclass A:\n  def f(self):\n    x = n.WLAN(n.NO)\n    x.fly()\n"
    assert used_names(source) == {"network.WLAN", "network.NO", "network.WLAN.fly"}


def test_every_version_from_1_24_on_is_there(stubs: dict[str, Names]) -> None:
    """One below the installed one is missing? Its list is to be made: stub_names.py."""
    found = [minor(version) for version in stubs]
    assert found == list(range(FIRST_MINOR, max(found) + 1))


def test_every_name_used_on_the_chip_is_in_the_stubs_of_every_version(
    stubs: dict[str, Names],
) -> None:
    missing = []
    for version, names in stubs.items():
        for used in sorted(all_used()):
            module, name, *rest = used.split(".")
            there = name in names[module]
            if rest:
                assert len(rest) == 1, used
                there = there and rest[0] in names[module][name]
            if not there:
                missing.append(f"{version}: {used}")
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_the_fakes_have_no_name_that_the_stubs_have_not(
    module: str, stubs: dict[str, Names]
) -> None:
    *_, newest = stubs.values()
    real = newest[module]
    for name, members in stub_names.names_in((FAKES / f"{module}.py").read_text()).items():
        assert name in real, name
        assert set(members) <= set(real[name]), name
