"""What the wheel and the sdist hold, and that they are the same bytes wherever they are made."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key
from trove_classifiers import classifiers

from tests.packaging.built import ROOT, build, unpack

_SOURCE = ROOT / "src"
_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\\?\s")
# Another clock for every Python that has this on its path.
_LATER = "import time\n_now = time.time\ntime.time = lambda: _now() + 3e8\n"


def test_the_wheel_holds_every_module_every_stub_and_the_mark_of_typed_packages(
    wheel: Path,
) -> None:
    expected = {
        path.relative_to(_SOURCE).as_posix()
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in _SOURCE.rglob(pattern)
    }
    held = {name for name in _names(wheel) if ".dist-info/" not in name}
    assert held == expected
    packages = {name.split("/")[0] for name in held}
    assert {f"{package}/py.typed" for package in packages} <= held


def test_what_the_wheel_says_of_itself_is_known_to_package_indexes(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(name).decode())
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["License-File"] == "LICENSE"
    assert set(fields.get_all("Classifier") or ()) <= classifiers
    assert fields.get_all("Provides-Extra") == ["micropython", "signing"]


def test_the_sdist_holds_every_file_of_the_repository(sdist: Path) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("no git repository here")
    with tarfile.open(sdist) as archive:
        held = {member.name.split("/", 1)[1] for member in archive if member.isfile()}
    there = {name for name in listing.stdout.splitlines() if (ROOT / name).exists()}
    assert held - there == {"PKG-INFO"}
    assert there <= held


def test_no_private_key_is_in_the_repository(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    assert not [name for name, content in contents.items() if _PRIVATE.search(content)]
    for name, content in contents.items():
        if not name.endswith((".py", ".pyi", ".md")):
            with pytest.raises((ValueError, UnsupportedAlgorithm)):
                load_der_private_key(content, password=None)


def test_another_umask_clock_locale_zone_and_age_of_files_make_the_same_bytes(
    artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    source = unpack(artifacts[1], tmp_path / "source")
    for path in source.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(path.stat().st_mode & 0o700)
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(_LATER)
    before = os.umask(0o077)
    try:
        again = build(
            source,
            tmp_path / "again",
            PYTHONPATH=str(tmp_path / "clock"),
            PYTHONHASHSEED="7",
            LC_ALL="tr_TR.UTF-8",
            TZ="Pacific/Kiritimati",
        )
    finally:
        os.umask(before)
    for first, second in zip(artifacts, again, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), first.name


def test_the_tests_run_from_an_unpacked_sdist(sdist: Path, tmp_path: Path) -> None:
    top = unpack(sdist, tmp_path)
    some = ["tests/esp_partition/test_otadata.py", "tests/esp_image/test_build_and_stamp.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some],
        cwd=top,
        env={**os.environ, "PYTHONPATH": str(top / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()
