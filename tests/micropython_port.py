"""The MicroPython unix port for tests: where it is, and how it finds our packages."""

import os
import subprocess
import sys
from pathlib import Path

import microdot

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
INTERPRETER = Path(sys.executable).parent / "micropython"


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
