"""The oldest versions that pyproject.toml allows of what the package needs, as constraints for pip
(`make lowest`)."""

import re
import tomllib
from pathlib import Path

_RANGE = re.compile(r"([a-z0-9-]+)>=([0-9.]+)")


def main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for dependency in project["dependencies"]:
        match = _RANGE.fullmatch(dependency)
        if match is None:
            raise SystemExit(f"pyproject.toml: {dependency!r}: expected NAME>=VERSION")
        print("==".join(match.groups()))


if __name__ == "__main__":
    main()
