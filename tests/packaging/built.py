"""sdist and wheel as `make dist` makes them, and an index of the packages that they depend on.

The index is a folder of wheels packed from what is installed here: pip resolves and installs from
it as from PyPI, and no test needs a network.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
NAME = "esp32-ota-service"
_NOT_PACKED = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def build(source: Path, output: Path, *what: str, **environment: str) -> list[Path]:
    """Run `python -m build` in `source`; the files made, by name."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--quiet",
            "--no-isolation",
            *what,
            "--outdir",
            output,
            ".",
        ],
        cwd=source,
        env={**os.environ, **environment},
        check=True,
        timeout=120,
    )
    return sorted(output.iterdir())


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack the sdist into the folder; its one top folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def needed(extras: tuple[str, ...] = ()) -> dict[str, metadata.Distribution]:
    """What is installed of the package's dependencies, direct and not, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(NAME, extras)]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        distribution = metadata.distribution(name)
        found[canonicalize_name(name)] = distribution
        for requirement in map(Requirement, distribution.requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                entry = (canonicalize_name(requirement.name), tuple(sorted(requirement.extras)))
                if entry not in seen:
                    seen.add(entry)
                    waiting.append(entry)
    del found[NAME]
    return found


def pack(distribution: metadata.Distribution, folder: Path) -> None:
    """An installed distribution as a wheel in the folder, its scripts left out."""
    tags = Parser().parsestr(distribution.read_text("WHEEL") or "").get_all("Tag") or []
    parts = zip(*[tag.split("-") for tag in tags], strict=True)
    tag = "-".join(".".join(sorted(set(part))) for part in parts)
    name = canonicalize_name(distribution.name).replace("-", "_")
    path = folder / f"{name}-{distribution.version}-{tag}.whl"
    rows = []
    with zipfile.ZipFile(path, "w") as wheel:
        for file in distribution.files or ():
            if file.parts[0] == ".." or file.suffix == ".pyc" or file.name in _NOT_PACKED:
                continue
            wheel.write(str(file.locate()), file.as_posix())
            rows.append(f"{file.as_posix()},,")
        record = next(f for f in distribution.files or () if f.name == "RECORD").as_posix()
        wheel.writestr(record, "\n".join([*rows, f"{record},,", ""]))


def index(folder: Path) -> dict[str, str]:
    """Fill the folder with what the package needs; the environment for pip to take that alone."""
    for distribution in needed().values():
        pack(distribution, folder)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_COMPILE": "1"}
