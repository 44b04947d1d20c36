"""What a certificate costs a board in memory (`python -m benchmarks dice` measures it exactly)."""

from pathlib import Path

from tests import micropython_port


def test_a_further_certificate_fits_in_half_of_24_kib_of_heap(tmp_path: Path) -> None:
    script = micropython_port.ROOT / "benchmarks" / "dice_board.py"
    done = micropython_port.run(str(script), "again", "12288", library=tmp_path, heap="512k")
    assert done.stdout == "enough\n"
    done = micropython_port.run(str(script), "again", "1024", library=tmp_path, heap="512k")
    assert done.stdout == "too small\n"
