"""Opening a flash file for a command, and the image in a slot of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esp_image import ImageError, ImageParser
from ota_cli.errors import CommandError
from virtual_esp32 import FlashError, VirtualBoardError
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash


@contextmanager
def opened(path: Path, *, copy: bool = False) -> Iterator[VirtualBoard]:
    """The board of a flash file, which is then nobody else's to change; with `copy` on its bytes
    in memory, so that nothing changes.

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
        raise CommandError(f"flash file {path}: no such file or directory (board create makes one)")
    try:
        yield VirtualBoard(flash, efuse)
    finally:
        flash.close()


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
