"""The wheel alone, installed by pip into an empty environment; and the list of what that brings."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.packaging.built import ROOT, needed

_BIN = Path(sys.executable).parent


@pytest.fixture
def installed(wheel: Path, offline: dict[str, str], tmp_path: Path) -> Path:
    """The interpreter of an environment that has the wheel and what pip brought with it."""
    _run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"])
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", wheel], **offline)
    return python


def test_the_wheel_alone_gives_the_whole_demonstration(installed: Path, tmp_path: Path) -> None:
    for missing in ("esptool", "espsecure", "pytest"):
        find = f"import importlib.util; assert importlib.util.find_spec({missing!r}) is None"
        _run([installed, "-c", find])
    shown = _run([installed.with_name("ota-service"), "demo"], cwd=tmp_path, COLUMNS="100")
    assert len(re.findall(r"│ +ok +│", shown)) == 6, shown
    assert "NO" not in shown


def test_a_type_checker_finds_the_types_of_the_installed_packages(
    installed: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import dice, ota_service\nreveal_type(dice.key_id)\nreveal_type(ota_service.setup)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed, program]
    said = _run(command, cwd=tmp_path)
    assert "Success" in said
    assert said.count('Revealed type is "def (') == 2, said


def test_the_list_of_components_is_the_locked_runtime_dependencies(
    offline: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    listed, newer, scratch = (tmp_path / name for name in ("sbom.json", "newer", "scratch"))
    scratch.mkdir()
    # What is published today is not what was looked at: the lock counts.
    _publish(newer, "click", "999.0")
    index = {**offline, "PIP_FIND_LINKS": f"{offline['PIP_FIND_LINKS']} {newer}"}
    _run(
        ["make", "-o", ".venv/.installed", f"BIN={_BIN}", f"SBOM={listed}", "sbom"],
        cwd=ROOT,
        TMPDIR=str(scratch),
        **index,
    )
    assert list(scratch.iterdir()) == []
    document = json.loads(listed.read_text())
    assert document["bomFormat"] == "CycloneDX"
    # The same whenever it is made.
    assert "serialNumber" not in document and "timestamp" not in document["metadata"]
    about = document["metadata"]["component"]
    assert (about["type"], about["name"]) == ("application", "esp32-ota-service")
    components = {canonicalize_name(c["name"]): c for c in document["components"]}
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    locked = {canonicalize_name(name): version for name, version in pins.items()}
    expected = {name: locked[name] for name in needed()}
    assert {name: c["version"] for name, c in components.items()} == expected
    assert all(c["purl"].startswith("pkg:pypi/") for c in components.values())
    assert all(c["licenses"] for c in components.values())


def _publish(folder: Path, name: str, version: str) -> None:
    """An empty wheel."""
    folder.mkdir()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def _run(command: list[str | Path], cwd: Path | None = None, **environment: str) -> str:
    """Run it to its end; what it printed. Fails with that when it does."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
