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


class _SeekStorage:
    """A file read and written in place: for runtimes without mmap."""

    def __init__(self, path):
        self._file = open(path, "r+b")
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

    def __init__(self, path):
        with open(path, "r+b") as file:
            self._map = _mmap(file.fileno(), 0)
        self.size = len(self._map)

    def read_into(self, offset, buffer):
        buffer[:] = self._map[offset : offset + len(buffer)]

    def write(self, offset, data):
        self._map[offset : offset + len(data)] = data

    def close(self):
        self._map.close()


def open_storage(path):
    """The flash file at `path` as a storage: size, read_into, write, close."""
    if not _exists(path):
        raise OSError(2, "no such file")
    return _MappedStorage(path) if _mmap and os.stat(path)[6] else _SeekStorage(path)


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
