"""What tests of pages share: a checkout to follow them in."""

import os
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

_MADE_FROM = ("pyproject.toml", "constraints.txt", "dev-requirements.txt")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a page needs of a checkout, with this one's .venv, newer than what it is made from."""
    for name in ("Makefile", *_MADE_FROM):
        os.utime(shutil.copy(ROOT / name, tmp_path), (0, 0))
    for name in (".venv", "micropython", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path
