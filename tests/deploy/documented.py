"""What docs/operations.md tells people to type, and the tree of `deploy` with what that makes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent

_OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def blocks(heading: str) -> list[str]:
    """The shell commands below a heading."""
    section = _OPERATIONS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(command: str, folder: Path) -> None:
    """A shell script, with the commands of this package."""
    subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )


def make_tree(folder: Path) -> None:
    """A clone's `deploy` in the folder, with the secrets where they belong, and an admin's."""
    shutil.copytree(DEPLOY, folder / "deploy")
    run("espsecure generate-signing-key --version 2 --scheme ecdsa256 sign.pem", folder)
    run(blocks("Secrets first")[0], folder)
    for place in ("container", "kubernetes"):
        shutil.copytree(
            folder / "secrets", folder / "deploy" / place / "secrets", dirs_exist_ok=True
        )
    (folder / "deploy" / "container" / "secrets" / "admin-tokens").write_text("# none yet\n")
