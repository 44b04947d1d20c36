"""Differences between CPython and MicroPython, by feature."""

import hashlib


def md5(data):
    """MD5 of data, 16 bytes: what the format of the partition table demands, no protection."""
    return hashlib.md5(data).digest()  # noqa: S324
