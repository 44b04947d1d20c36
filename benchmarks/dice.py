"""dice and ota_crypto under MicroPython, beside the same code and `cryptography` on CPython.

The unit is 1000 rounds of `x = (x * b) % p` with 256-bit numbers in the same process. Bars, on
MicroPython: `key_pair_units` at most 2.5, `verify_units` 6, `device_certificate_units` 8, and
`heap_bytes` under 24 KiB. `heap_bytes` is the smallest heap, beside what the caller holds, in
which a board's first `device_certificate` succeeds: the code that it loads is in it.
`heap_again_bytes` is the same for every further one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests import micropython_port

NAME = "dice"
_SCRIPT = Path(__file__).with_name("dice_board.py")
_HEAP_STEP_BYTES = 128


def run() -> dict[str, object]:
    """Measure once; `figures` are MicroPython's."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder)
        figures: dict[str, float] = _figures(_on_board(library, "time"))
        peers = {"viper_off": _figures(_on_board(library, "plain"))}
        figures["heap_bytes"] = _smallest_heap(library, "first")
        figures["heap_again_bytes"] = _smallest_heap(library, "again")
    for backend in ("pure", "native"):
        peers[f"cpython_{backend}"] = _figures(_on_host(backend))
    return {"name": NAME, "figures": figures, "peers": peers}


def _figures(output: str) -> dict[str, float]:
    return {name: float(value) for name, value in map(str.split, output.splitlines())}


def _on_board(library: Path, *arguments: str) -> str:
    done = micropython_port.run(str(_SCRIPT), *arguments, library=library, heap="512k")
    if done.returncode:
        raise RuntimeError(done.stdout)
    return done.stdout


def _on_host(backend: str) -> str:
    command = [sys.executable, str(_SCRIPT), "time", backend]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _smallest_heap(library: Path, when: str) -> int:
    """By halving: the least number of free bytes with which the call succeeds."""
    low, high = 0, 128 * 1024
    while high - low > _HEAP_STEP_BYTES:
        middle = (low + high) // 2
        if _on_board(library, when, str(middle)).strip() == "enough":
            high = middle
        else:
            low = middle
    return high


if __name__ == "__main__":
    from benchmarks.__main__ import main

    sys.exit(main([NAME, *sys.argv[1:]]))
