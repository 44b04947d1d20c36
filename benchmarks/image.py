"""esp_image under MicroPython: the stream against a bare read-and-hash loop, and signatures.

The unit is 1000 rounds of `x = (x * b) % p` with 256-bit numbers in the same process. Bars:
`stream_ratio` at most 1.3, `stream_heap_bytes` and `readback_heap_bytes` under 12 KiB,
`rsa3072_units` at most 2, `p256_units` at most 7. Heap is the smallest in which the call
succeeds beside what the caller holds, the code being loaded; the read-back's includes verifying
an RSA-3072 block.
"""

import tempfile
from pathlib import Path

from esp_image.build import build_app
from tests import micropython_port
from tests.esp_image import signing

NAME = "image"
IMAGE_BYTES = 1_500_000
_SMALL_IMAGE_BYTES = 60_000
_SCRIPT = Path(__file__).with_name("image_board.py")
_HEAP_STEP_BYTES = 128


def run() -> dict[str, object]:
    """Measure once; `figures` are ours, the peer is the bare loop of the same process."""
    with tempfile.TemporaryDirectory() as folder:
        found, heaps = _measure(Path(folder))
    unit = found["unit_us"]
    figures = {
        "stream_ratio": round(found["stream_ratio"], 3),
        "parse_ms": round(found["parse_us"] / 1000, 2),
        "rsa3072_units": round(found["rsa3072_us"] / unit, 2),
        "p256_units": round(found["p256_us"] / unit, 2),
        "unit_us": int(unit),
        **heaps,
    }
    bare = {"readinto_and_sha256_ms": round(found["bare_us"] / 1000, 2)}
    return {"name": NAME, "figures": figures, "peers": bare}


def _measure(folder: Path) -> tuple[dict[str, float], dict[str, int]]:
    keys = {kind: signing.make_key(kind) for kind in ("rsa", "p256")}
    image = build_app("1.0", "bench", "esp32s3", size=IMAGE_BYTES)
    paths = []
    for kind, key in keys.items():
        paths.append(folder / f"{kind}.bin")
        paths[-1].write_bytes(signing.sign(image, key))
    small = folder / "small.bin"
    image = build_app("1.0", "bench", "esp32s3", size=_SMALL_IMAGE_BYTES)
    small.write_bytes(signing.sign(image, keys["rsa"]))
    library = folder / "library"
    library.mkdir()
    times = _on_board(library, "time", *paths)
    found = {name: float(value) for name, value in map(str.split, times.splitlines())}
    heaps = {
        f"{what}_heap_bytes": _smallest_heap(library, what, small)
        for what in ("stream", "readback")
    }
    return found, heaps


def _on_board(library: Path, *arguments: object) -> str:
    done = micropython_port.run(str(_SCRIPT), *map(str, arguments), library=library, heap="512k")
    if done.returncode:
        raise RuntimeError(done.stdout)
    return done.stdout


def _smallest_heap(library: Path, what: str, image: Path) -> int:
    """By halving: the least number of free bytes with which the call succeeds."""
    low, high = 0, 64 * 1024
    while high - low > _HEAP_STEP_BYTES:
        middle = (low + high) // 2
        if _on_board(library, what, image, middle).strip() == "enough":
            high = middle
        else:
            low = middle
    return high
