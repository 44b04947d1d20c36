"""Opening a flash file for a command, and the image in a slot of it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from esp_image import ImageError, ImageParser
from ota_cli.errors import CommandError
from virtual_esp32 import FlashError, VirtualBoardError
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash


@contextmanager
def opened(path: Path, *, copy: bool = False) -> Iterator[VirtualBoard]:
    """The board of a flash file; with `copy` on its bytes in memory, so that nothing changes.

    Raises CommandError.
    """
    try:
        efuse = EFuse.load(path) if path.exists() else None
        flash = NorFlash(MemoryStorage(path.read_bytes())) if copy else NorFlash.open(str(path))
    except OSError as error:
        raise CommandError(f"flash file {path}: {(error.strerror or str(error)).lower()}") from None
    except (FlashError, VirtualBoardError) as error:
        raise CommandError(f"flash file {path}: {error}") from None
    if efuse is None:
        raise CommandError(f"flash file {path}: no such file or directory")
    try:
        with nullcontext() if copy else _powered(path):
            yield VirtualBoard(flash, efuse)
    finally:
        flash.close()


@contextmanager
def _powered(path: Path) -> Iterator[None]:
    """One flash belongs to one running board. Raises CommandError."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"flash file {path}: a board runs on it already") from None
        yield


def parse_slot(content: bytes) -> ImageParser:
    """The image at the start of a slot, with its signature sector if one follows it.

    Raises ImageError.
    """
    for signed in (True, False):
        parser = ImageParser(signed=signed, ignore_rest=True)
        try:
            parser.feed(content)
            parser.close()
        except ImageError:
            continue
        return parser
    raise ImageError("truncated", "no image in the slot")
