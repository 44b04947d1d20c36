"""Files that appear together, whole, or not at all; those that are secret are for their owner
alone. They are written into a folder of their own, and moved once they are on the disk."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ota_cli import verbose
from ota_cli.errors import CommandError

Progress = Callable[[int], None]

_HELD_BACK = {signal.SIGINT, signal.SIGTERM}
_FOLDER_MODE, _SECRET_MODE, _PUBLIC_MODE = 0o700, 0o600, 0o644


class NewFolder:
    """A new folder with mode 0700, for a `with`: unless its files were moved, they end with it.

    path: where; `.partial` is put behind it. A process that is killed leaves it, under that name,
    and it has to be removed by hand: it may be one that is still being written. SIGINT and SIGTERM
    wait for the end of the `with`, which comes early then: they never find something half done.
    Every method raises CommandError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".partial")
        self._names: list[str] = []
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._signals_before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        try:
            self._make_folders(self._path.parent)
            if os.path.lexists(self._path):
                raise CommandError(
                    f"{self._path} is there: a run writes it, or broke off and enrolled nothing;"
                    " remove it in that case"
                )
            self._make_folder(self._path)
        except BaseException:
            self._end(failed=True)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        self._end(failed=exc is not None)

    def _end(self, failed: bool) -> None:
        if failed:
            self._undo.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._signals_before)

    def write(self, name: str, content: bytes | bytearray, *, secret: bool = False) -> None:
        """Write one more file."""
        _heed_signals()
        path = self._path / name
        mode = _SECRET_MODE if secret else _PUBLIC_MODE
        with _one_line(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                if secret:
                    _keep_from_others(descriptor, path)
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
        self._names.append(name)
        verbose.tell(f"{path}: written, {len(content)} bytes" + (", a secret" if secret else ""))

    def become(self, folder: Path, progress: Progress = lambda count: None) -> None:
        """Give the whole folder this name, at once. There must be nothing of that name.

        progress(count): so many of its files are on the disk.
        """
        self._sync(progress)
        with _one_line(folder):
            os.rename(self._path, folder)
        _sync_folder(folder.parent)

    def move_files(self, folder: Path) -> None:
        """Move the files, all or none, into this folder, over nothing that exists."""
        self._sync(lambda count: None)
        with ExitStack() as undo:
            for name in self._names:
                with _one_line(folder / name):
                    # Not a rename: that would replace what another process put there meanwhile.
                    os.link(self._path / name, folder / name)
                undo.callback(_give_up, folder / name)
            _sync_folder(folder)
            undo.pop_all()

    def _sync(self, progress: Progress) -> None:
        """Have all on the disk: after all are written, which takes a third of the time."""
        for count, name in enumerate(self._names, 1):
            _heed_signals()
            progress(count)
            with _one_line(self._path / name):
                descriptor = os.open(self._path / name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        _sync_folder(self._path)

    def _make_folders(self, folder: Path) -> None:
        for each in reversed((folder, *folder.parents)):
            if not os.path.lexists(each):
                self._make_folder(each)
                _sync_folder(each.parent)

    def _make_folder(self, folder: Path) -> None:
        with _one_line(folder):
            folder.mkdir(_FOLDER_MODE)
            self._undo.callback(_give_up, folder)
            folder.chmod(_FOLDER_MODE)


def _heed_signals() -> None:
    """Where the `with` may end early. What is pending is delivered at its end."""
    if signal.sigpending() & _HELD_BACK:
        raise KeyboardInterrupt


@contextmanager
def signals_held_back() -> Iterator[set[signal.Signals]]:
    """SIGINT and SIGTERM, which it yields, wait for the end of this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield _HELD_BACK
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def remove(*paths: Path) -> None:
    """Remove files, or folders with all in them: what is secret first out of the way."""
    for path in paths:
        if path.is_dir():
            away = path.with_name(path.name + ".partial")
            with suppress(OSError):
                path.rename(away)
                path = away
            shutil.rmtree(path, ignore_errors=True)
        else:
            _give_up(path)


def _give_up(path: Path) -> None:
    """What cannot be undone is left: the failure that led here is what the user must hear of."""
    with suppress(OSError):
        path.rmdir() if path.is_dir() else path.unlink()


def _keep_from_others(descriptor: int, path: Path) -> None:
    """Raises CommandError where a file cannot be kept from others, as on FAT."""
    os.fchmod(descriptor, _SECRET_MODE)
    if os.fstat(descriptor).st_mode & 0o077:
        raise CommandError(f"{path}: this file system cannot keep a file from other users")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every network file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """The system's refusals as a CommandError that names the file."""
    try:
        yield
    except FileExistsError:
        raise CommandError(f"{path} is there already: nothing was written") from None
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None
