"""Opening a flash file for a command, and what `board show` says of it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from esp_image import ImageError, ImageParser
from esp_partition import otadata, table
from ota_cli import images
from ota_cli.errors import CommandError
from virtual_esp32 import FlashError, VirtualBoardError, bootloader
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse, format_mac
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


def describe(board: VirtualBoard) -> dict[str, Any]:
    """What the flash holds and what would boot. Boots the board. Raises VirtualBoardError."""
    partitions = bootloader.read_partition_table(board.flash)
    slots = table.ota_slots(partitions)
    states = _slot_states(board, partitions, slots)
    described = [_slot(board, slot, states.get(index)) for index, slot in enumerate(slots)]
    decision = bootloader.boot(board.flash, board.efuse, board.rollback)
    boots = decision.partition.label if decision.partition else None
    booted = next((slot for slot in described if slot["label"] == boots), None)
    return {
        "chip": board.chip,
        "mac": format_mac(board.mac()),
        "flash_bytes": board.flash.size,
        "secure_boot": board.secure_boot,
        "secure_version": board.secure_version,
        "trusted_keys": [digest.hex() for digest in board.efuse.trusted_keys],
        "boots": boots,
        "why": decision.reason,
        "project": booted["project"] if booted else None,
        "version": booted["version"] if booted else None,
        "slots": described,
    }


def _slot_states(
    board: VirtualBoard, partitions: list[table.Partition], slots: list[table.Partition]
) -> dict[int, str]:
    """otadata's state for each slot that an entry names."""
    where = bootloader.find_otadata(partitions)
    if where is None or not slots:
        return {}
    entries = bootloader.read_otadata(board.flash, where)
    fitting = sorted((e for e in entries if e.crc_ok), key=lambda entry: entry.seq)
    return {
        otadata.slot_of(entry.seq, len(slots)): otadata.state_name(entry.state) for entry in fitting
    }


def _slot(board: VirtualBoard, slot: table.Partition, state: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "label": slot.label,
        "offset": slot.offset,
        "size": slot.size,
        "state": state,
        "project": None,
        "version": None,
        "image": "empty",
        "valid": False,
        "image_bytes": None,
        "sha256": None,
        "signatures": [],
    }
    content = bytes(board.flash.read(slot.offset, slot.size))
    if content[:16] == b"\xff" * 16:
        return fields
    try:
        bootloader.verify_image(board.flash, slot, board.efuse)
    except ImageError as error:
        return {**fields, "image": f"{error.code}: {error}"}
    found = images.fields_of(_parsed(content))
    kept = ("project", "version", "image_bytes", "sha256", "signatures")
    return {**fields, "image": "valid", "valid": True, **{name: found[name] for name in kept}}


def _parsed(content: bytes) -> ImageParser:
    """The image at the start of a slot, with its signature sector if one follows it."""
    for signed in (True, False):
        parser = ImageParser(signed=signed, ignore_rest=True)
        try:
            parser.feed(content)
            parser.close()
        except ImageError:
            continue
        return parser
    raise ImageError("truncated", "no image in the slot")
