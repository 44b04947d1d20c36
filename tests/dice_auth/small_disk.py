"""A file system of one megabyte that tests fill up."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, *, room_bytes: int = 0) -> None:
        """Leave no room but this."""
        status = os.statvfs(self.folder)
        taken = status.f_bavail * status.f_frsize - room_bytes
        with self._filler.open("ab") as filler:
            os.posix_fallocate(filler.fileno(), filler.tell(), taken)

    def make_room(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """folder: where it is mounted. Skips the test where mounting is not allowed."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("a full disk needs mount and umount")
    folder.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a full disk needs the right to mount one: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: a server that a failed test left behind must not keep it.
        subprocess.run([umount, "-l", folder], check=True)
