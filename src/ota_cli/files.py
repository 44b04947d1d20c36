"""Reading and writing files for commands: what cannot be done is one line that names the file."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ota_cli import verbose
from ota_cli.errors import EXIT_USAGE, CommandError

_MOST_BYTES = 128 * 1024 * 1024  # the largest flash there is


def read_bytes(path: Path, what: str) -> bytes:
    """A file's content, at most 128 MB (a device need not end). Raises CommandError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{what} {path}: {_reason(error)}") from None
    if len(content) > _MOST_BYTES:
        raise CommandError(f"{what} {path}: larger than {_MOST_BYTES} bytes")
    verbose.tell(f"{what} {path}: read, {len(content)} bytes")
    return content


def write_bytes(path: Path, content: bytes, what: str, *, secret: bool = False) -> None:
    """Write a file whole or not at all; a device or pipe as it is. Raises CommandError.

    secret: for its owner's eyes only.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            verbose.tell(f"{what} {path}: written, {len(content)} bytes")
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            if not secret:  # as mkstemp made it, else
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(name, 0o666 & ~umask)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise CommandError(f"{what} {path}: {_reason(error)}") from None
    verbose.tell(f"{what} {path}: written, {len(content)} bytes")


def refuse_to_replace(source: Path, out: Path, what: str) -> None:
    """Raises CommandError where what is to be written would take the place of a file that is read,
    and cannot be made again from it."""
    with suppress(OSError):
        if out.is_file() and out.samefile(source):
            raise CommandError(f"output {out}: that is the {what}, which would be lost", EXIT_USAGE)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
