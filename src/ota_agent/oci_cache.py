"""Firmware from a registry on disk, so that it is there when the registry is not.

    CACHE/NAME-HASH/            of one reference
        current -> 5f2c...      what the catalogue serves; set to the next at once, or not at all
        5f2c.../                what one manifest holds: CHIP-SHA256.bin
                .contents.json  its digest, and which files there are
        .lock                   held by the process that writes here

Nothing here is believed because it is here: files are named by their digest, and the catalogue
checks them when it loads them.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ota_agent.errors import PullError
from ota_agent.file_stamp import Stamp, stamp_of
from ota_agent.oci_reference import Reference

_CONTENTS = ".contents.json"
_MOST_CONTENTS_BYTES = 1024 * 1024


class Cache:
    """Of one reference, in a folder that only this user may read. Every method raises PullError
    where the disk does not do what it should."""

    def __init__(self, folder: Path, reference: Reference) -> None:
        name = reference.name.rpartition("/")[2][:64]
        digest = hashlib.sha256(str(reference).encode()).hexdigest()[:16]
        self._folder = folder / f"{name}-{digest}"
        self._lock: int | None = None
        self._checked: tuple[Stamp, ...] | None = None

    @property
    def current(self) -> Path:
        """The folder to be served."""
        return self._folder / "current"

    @property
    def is_filled(self) -> bool:
        return self.current.is_dir()

    def lock(self) -> bool:
        """Whether this process is the one that writes here, from now on until `close`: the lock
        goes with the process, however it ends."""
        if self._lock is not None:
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(
                self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        except OSError as error:
            self.close()
            raise PullError(f"cache {self._folder}: {error.strerror}") from None
        self._tidy()
        return True

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def digest(self) -> str | None:
        """Of the manifest whose files are here, all of them and as they were written; else None."""
        digest, files = self._contents()
        stamps = tuple(stamp_of(self.current / name) for name in sorted(files))
        if stamps != self._checked:
            if not files or not all(map(self._is_good, files)):
                return None
            self._checked = stamps
        there = {each.name for each in self.current.glob("*.bin")}
        return digest if there == set(files) else None

    def _contents(self) -> tuple[str | None, list[str]]:
        try:
            with (self.current / _CONTENTS).open("rb") as file:
                members = json.loads(file.read(_MOST_CONTENTS_BYTES))
            digest, files = members["digest"], members["files"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None, []
        is_list = isinstance(files, list) and all(isinstance(each, str) for each in files)
        return (digest, files) if isinstance(digest, str) and is_list else (None, [])

    def _is_good(self, name: str) -> bool:
        try:
            with (self.current / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return False
        return name.endswith(f"-{found}.bin")

    def scratch(self) -> Path:
        """A new folder to fill, for `replace`."""
        try:
            # Somebody may have emptied the cache meanwhile.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        except OSError as error:
            raise PullError(f"cache {self._folder}: {error.strerror}") from None

    def put(self, scratch: Path, chip: str, content: bytes) -> str:
        """Write one firmware; its file's name."""
        name = f"{chip}-{hashlib.sha256(content).hexdigest()}.bin"
        self._write(scratch / name, content)
        return name

    def replace(self, scratch: Path, digest: str, files: Sequence[str]) -> None:
        """Serve what was put there from now on, and forget what was there before."""
        contents = json.dumps({"digest": digest, "files": sorted(set(files))}).encode()
        self._write(scratch / _CONTENTS, contents)
        name = scratch.name.removeprefix(".new-")
        link = self._folder / f".current-{name}"
        try:
            _sync(scratch)
            os.rename(scratch, self._folder / name)
            link.symlink_to(name)
            os.replace(link, self.current)
            _sync(self._folder)
        except OSError as error:
            raise PullError(f"cache {self._folder}: {error.strerror}") from None
        self._checked = None
        self._tidy()

    def _tidy(self) -> None:
        """Remove what is not served; this process is the one that writes."""
        kept = {"current", ".lock"}
        with suppress(OSError):
            kept.add(os.readlink(self.current))
        with suppress(OSError):
            for each in self._folder.iterdir():
                if each.name in kept:
                    continue
                if each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    each.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        try:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            return
        except OSError as error:
            raise PullError(f"cache {path}: {error.strerror}") from None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
