"""A file that only its owner may read: tokens, or what stands for them."""

import os
import stat
from pathlib import Path

from dice_auth.errors import SettingsError

_MOST_BYTES = 64 * 1024
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOR_OTHERS_OF_ROOT = _FOR_OTHERS & ~stat.S_IRGRP


def read_private(option: str, path: Path) -> bytes:
    """Its content. Raises SettingsError, one line that begins with the option and the path."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SettingsError(f"{option} {path}: not a regular file")
            if _is_for_others(status):
                raise SettingsError(
                    f"{option} {path}: mode {stat.S_IMODE(status.st_mode):04o}, expected"
                    " 0600: others may read it"
                )
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{option} {path}: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"{option} {path}: more than {_MOST_BYTES} bytes")
    return content


def _is_for_others(status: os.stat_result) -> bool:
    """root may let a group read: that is how Kubernetes and systemd hand secrets to a program that
    is not root (as PostgreSQL has it for its keys)."""
    is_from_root = status.st_uid == 0 != os.geteuid()
    return bool(status.st_mode & (_FOR_OTHERS_OF_ROOT if is_from_root else _FOR_OTHERS))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
