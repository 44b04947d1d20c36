"""Runs tests/micropython, which pytest collects on CPython, under MicroPython as well."""

from pathlib import Path

import pytest

from tests import micropython_port

FILES = sorted((Path(__file__).parent / "micropython").glob("test_*.py"))


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_the_same_tests_pass_under_micropython(name: str, tmp_path: Path) -> None:
    runner = str(Path(__file__).parent / "micropython" / "run.py")
    done = micropython_port.run(runner, name, library=tmp_path)
    assert done.returncode == 0, done.stdout
    assert " 0 failed" in done.stdout
    if "\n0 passed" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
