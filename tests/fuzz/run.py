"""Fuzz one target with atheris:

    python -m tests.fuzz.run NAME [-runs=N] [libFuzzer's options]

Its corpus grows in build/fuzz/NAME, starting from the target's seeds.
"""

import sys
from pathlib import Path


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["dice", "esp_image", "esp_partition"]):
        from tests.fuzz.targets import TARGETS

    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.run {{{'|'.join(TARGETS)}}} [-runs=N]")
    name = sys.argv[1]
    corpus = Path("build") / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{i}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(corpus), "-max_len=65536", *sys.argv[2:]],
        TARGETS[name].run,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
