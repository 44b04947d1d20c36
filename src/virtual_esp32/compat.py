"""Differences between CPython and MicroPython for the virtual board, by feature."""

import os

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


try:
    from mmap import mmap as _mmap
except ImportError:
    _mmap = None

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:
    flock = None

from .errors import VirtualBoardError


class _SeekStorage:
    """A file read and written in place: for runtimes without mmap."""

    def __init__(self, file):
        self._file = file
        self.size = self._file.seek(0, 2)

    def read_into(self, offset, buffer):
        self._file.seek(offset)
        self._file.readinto(buffer)

    def write(self, offset, data):
        self._file.seek(offset)
        self._file.write(data)
        self._file.flush()

    def close(self):
        self._file.close()


class _MappedStorage:
    """A file mapped into memory and shared: other processes see each write at once."""

    def __init__(self, file):
        # mmap duplicates the descriptor, and with it holds the lock until it is closed (flock(2))
        self._map = _mmap(file.fileno(), 0)
        file.close()
        self.size = len(self._map)

    def read_into(self, offset, buffer):
        buffer[:] = self._map[offset : offset + len(buffer)]

    def write(self, offset, data):
        self._map[offset : offset + len(data)] = data

    def close(self):
        self._map.close()


def open_storage(path):
    """The flash file at `path` as a storage: size, read_into, write, close.

    Until it is closed nobody else opens it where the runtime has flock (CPython; MicroPython has
    none, there whoever starts it holds the lock). Raises OSError, and VirtualBoardError when a
    board runs on it.
    """
    if not _exists(path):
        raise OSError(2, "no such file")
    file = open(path, "r+b")
    try:
        _lock(file)
        return _MappedStorage(file) if _mmap and os.stat(path)[6] else _SeekStorage(file)
    except BaseException:
        file.close()
        raise


def _lock(file):
    """One flash belongs to one running board."""
    if flock is None:
        return
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        raise VirtualBoardError("a board runs on it already")


def error_text(error):
    """What an OSError says, without number and file name where the runtime tells them apart."""
    reason = getattr(error, "strerror", None)
    return reason.lower() if reason else str(error)


def _exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def replace_file(path, text):
    """Write a text file so that a reader finds either the old or the new content."""
    with open(path + ".tmp", "w") as file:
        file.write(text)
    os.rename(path + ".tmp", path)
