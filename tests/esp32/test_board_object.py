"""board_checks.py under both runtimes, and what the fuses' fakes are made of."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import micropython_port
from tests.esp32.powered import FAKES, HERE, environment, interpreter

RUNNER = micropython_port.ROOT / "tests" / "micropython" / "run.py"


@pytest.mark.parametrize("runtime", ["micropython", "cpython"])
def test_the_board_object_is_what_the_chip_is(runtime: str, tmp_path: Path) -> None:
    made = environment(runtime, tmp_path / "none", tmp_path)
    for name in ("PYTHONPATH", "MICROPYPATH"):
        made[name] = f"{HERE}:{made[name]}"
    done = subprocess.run(
        [*interpreter(runtime), str(RUNNER), "board_checks"],
        env=made, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed, 0 skipped" in done.stdout


def test_the_stubs_of_ours_are_what_the_modules_are() -> None:
    """What `make lint` leaves out, since it has no fakes."""
    modules = ("ota_service.boards.esp32", "ota_service.boards.efuse")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--concise", *modules],
        env={**os.environ, "PYTHONPATH": str(FAKES), "MYPYPATH": "src"},
        cwd=micropython_port.ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def fake_fuses() -> Any:
    """The module of that name: on the path of boards alone."""
    spec = importlib.util.spec_from_file_location("fake_fuses", FAKES / "fake_fuses.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def espefuse() -> Path:
    """The folder of espefuse; its files are read as data."""
    spec = importlib.util.find_spec("espefuse")
    if spec is None or spec.origin is None:
        pytest.skip("esptool is not installed")
    return Path(spec.origin).parent


CHIPS = ["esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c6"]


@pytest.mark.parametrize("chip", CHIPS)
def test_espefuse_has_the_fuses_at_the_same_bits(chip: str, fake_fuses: Any) -> None:
    """A second opinion about every field that is read."""
    yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with esptool, is not installed")
    definitions = espefuse() / "efuse_defs" / f"{chip}.yaml"
    known = yaml.safe_load(definitions.read_text())["EFUSES"]
    for name, (block, first, bits) in fake_fuses.FIELDS[chip].items():
        found = known[name]
        assert (found["blk"], found["start"], found["len"]) == (block, first, bits), name
        assert found["start"] == 32 * found["word"] + found["pos"]


@pytest.mark.parametrize("chip", CHIPS)
def test_espefuse_has_the_blocks_at_the_same_addresses(chip: str, fake_fuses: Any) -> None:
    source = (espefuse() / "efuse" / chip / "mem_definition.py").read_text()
    (base,) = re.findall(r"DR_REG_EFUSE_BASE = (0x\w+)", source)
    assert int(base, 16) == fake_fuses.BASES[chip]
    # Name, aliases, index, read address, write address, two bits, length
    rows = re.findall(
        r'^ +\("\w+", +\[.*?\], +(\d+), +__base\w+ \+ (0x\w+), .*?, +(\d+), [^,]*\),$', source, re.M
    )
    blocks = {int(index): (int(at, 16), int(length)) for index, at, length in rows}
    assert len(blocks) == len(rows) >= 4
    for block, where in fake_fuses.blocks_of(chip).items():
        assert blocks[block] == where, block
