"""esp_image under MicroPython: the stream against a bare read-and-hash loop, and signatures.

Bars: `stream_ratio` at most 1.3, `heap_bytes` (above the caller's, the stream's and the
read-back's larger one) under 12 KiB, an RSA-3072 block at most 2 units, P-256 at most 7. The unit
is 1000 products of 256 bits in the same process.
"""

import tempfile
from pathlib import Path

from esp_image.build import build_app
from tests import micropython_port
from tests.esp_image import signing

NAME = "image"
IMAGE_BYTES = 1_500_000


def run() -> dict[str, object]:
    """Measure once; `figures` are ours, `peers` the bare loop of the same process."""
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(Path(folder))
    unit = found["unit_us"]
    return {
        "name": NAME,
        "figures": {
            "stream_ratio": round(found["stream_ratio"], 3),
            "parse_ms": round(found["parse_us"] / 1000, 2),
            "heap_bytes": int(max(found["stream_heap_bytes"], found["readback_heap_bytes"])),
            "stream_heap_bytes": int(found["stream_heap_bytes"]),
            "rsa3072_units": round(found["rsa3072_us"] / unit, 2),
            "p256_units": round(found["p256_us"] / unit, 2),
            "unit_us": int(unit),
        },
        "peers": {"readinto_and_sha256_ms": round(found["bare_us"] / 1000, 2)},
    }


def _measure(folder: Path) -> dict[str, float]:
    image = build_app("1.0", "bench", "esp32s3", size=IMAGE_BYTES)
    paths = []
    for kind in ("rsa", "p256"):
        paths.append(folder / f"{kind}.bin")
        paths[-1].write_bytes(signing.sign(image, signing.make_key(kind)))
    script = Path(__file__).with_name("image_board.py")
    library = folder / "library"
    library.mkdir()
    done = micropython_port.run(str(script), *map(str, paths), library=library, heap="256k")
    if done.returncode:
        raise RuntimeError(done.stdout)
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


if __name__ == "__main__":
    for name, value in run()["figures"].items():  # type: ignore[attr-defined]
        print(f"{name:20} {value}")
