"""The image's recipe. An image is not built here: its steps are run in folders of their own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy.documented import BIN, DEPLOY, ROOT

RECIPE = DEPLOY / "container" / "Containerfile"


def instructions(name: str) -> list[str]:
    text = RECIPE.read_text().replace("\\\n", " ")
    return [re.sub(r"\s+", " ", each) for each in re.findall(rf"^{name} (.*)$", text, re.MULTILINE)]


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [BIN / "hadolint", RECIPE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_nobody_in_particular_from_a_base_that_is_pinned() -> None:
    assert instructions("USER") == ["10001:10001"]
    bases = {each.split(" ")[0] for each in instructions("FROM")}
    assert bases == {"docker.io/library/python:3.11-slim-bookworm"}


def test_what_it_copies_is_there_and_nothing_else_is_sent() -> None:
    sources = [
        word
        for each in instructions("COPY")
        if not each.startswith("--from")
        for word in each.split(" ")[:-1]
    ]
    assert all((ROOT / each).exists() for each in sources)
    allowed = re.findall(r"^!(.*)$", Path(f"{RECIPE}.dockerignore").read_text(), re.MULTILINE)
    assert sorted(allowed) == sorted(sources)


def test_its_steps_make_a_command_that_runs(tmp_path: Path) -> None:
    """With the packages of this environment in the place of those from the registry: what pip gets
    there is the registry's; that the wheel holds all packages, and the command starts, is ours."""
    (run,) = instructions("RUN")
    wheel, venv, install = (each.strip() for each in run.split("&&"))
    source = tmp_path / "source"
    source.mkdir()
    for each in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / each, source)
    shutil.copytree(ROOT / "src", source / "src")
    pip = f"{sys.executable} -m pip --disable-pip-version-check"
    place, wheels = tmp_path / "ota", tmp_path / "wheels"

    def step(command: str) -> None:
        command = command.replace("/opt/ota", str(place)).replace("/wheels", str(wheels))
        subprocess.run(["bash", "-e", "-c", command], cwd=source, check=True, timeout=120,
                       capture_output=True)  # fmt: skip

    step(re.sub(r"^pip wheel", f"{pip} wheel", wheel))
    step(re.sub(r"^python ", f"{sys.executable} ", venv))
    assert install.startswith("pip --python /opt/ota/bin/python install ")
    step(re.sub(r"^pip ", f"{pip} ", install).replace(" install ", " install --no-deps "))
    (packages,) = place.glob("lib/python*/site-packages")
    (own,) = (Path(each) for each in sys.path if each.endswith("site-packages"))
    (packages / "others.pth").write_text(f"{own}\n")
    done = subprocess.run(
        [place / "bin" / instructions("ENTRYPOINT")[0].strip('[]"'), "agent", "--help"],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--dice-auth-url" in done.stdout
    assert {each.name for each in (ROOT / "src").iterdir() if each.is_dir()} <= {
        each.name for each in packages.iterdir()
    }
