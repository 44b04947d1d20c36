"""What a board's flash holds and what it would boot, as plain values."""

from typing import Any

from esp_image import ImageError
from esp_partition import otadata, table
from ota_cli import images
from ota_cli.board.flash_file import parse_slot
from virtual_esp32 import bootloader
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import format_mac

_KEPT = (
    "project",
    "version",
    "secure_version",
    "image_bytes",
    "total_bytes",
    "sha256",
    "signatures",
)


def describe(board: VirtualBoard) -> dict[str, Any]:
    """Fields of a board. Boots it, so it has to be a copy. Raises VirtualBoardError."""
    partitions = bootloader.read_partition_table(board.flash)
    entries = _otadata_entries(board, partitions)
    apps = [p for p in partitions if p.type == table.TYPE_APP]
    states = _slot_states(entries, _ota_slots(partitions))
    slots = [_slot(board, app, states.get(app.label)) for app in apps]
    decision = bootloader.boot(board.flash, board.efuse, board.rollback)
    boots = decision.partition.label if decision.partition else None
    booted = next((slot for slot in slots if slot["label"] == boots), None)
    return {
        "chip": board.chip,
        "mac": format_mac(board.mac()),
        "flash_bytes": board.flash.size,
        "secure_boot": board.secure_boot,
        "key_digests": [digest.hex() for digest in board.key_digests],
        "secure_version": board.secure_version,
        "trusted_keys": [digest.hex() for digest in board.efuse.trusted_keys],
        "boots": boots,
        "why": decision.reason,
        "passed_over": [f"{label}: {reason}" for label, reason in decision.skipped],
        "project": booted["project"] if booted else None,
        "version": booted["version"] if booted else None,
        "partitions": [_partition(partition) for partition in partitions],
        "otadata": [_entry(sector, entry) for sector, entry in enumerate(entries)],
        "slots": slots,
    }


def _otadata_entries(board: VirtualBoard, partitions: list[table.Partition]) -> list[otadata.Entry]:
    where = bootloader.find_otadata(partitions)
    return [] if where is None else bootloader.read_otadata(board.flash, where)


def _ota_slots(partitions: list[table.Partition]) -> list[table.Partition]:
    """The slots that otadata can name: none where their numbers have gaps."""
    try:
        return table.ota_slots(partitions)
    except table.PartitionTableError:
        return []


def _slot_states(entries: list[otadata.Entry], slots: list[table.Partition]) -> dict[str, str]:
    """otadata's state for each slot that an entry names; of two the later."""
    if not slots:
        return {}
    fitting = sorted((entry for entry in entries if entry.crc_ok), key=lambda entry: entry.seq)
    return {
        slots[otadata.slot_of(entry.seq, len(slots))].label: otadata.state_name(entry.state)
        for entry in fitting
    }


def _partition(partition: table.Partition) -> dict[str, Any]:
    return {
        "label": partition.label,
        "type": partition.type,
        "subtype": partition.subtype,
        "offset": partition.offset,
        "size": partition.size,
        "flags": partition.flags,
    }


def _entry(sector: int, entry: otadata.Entry) -> dict[str, Any]:
    empty = entry.seq == otadata.SEQ_EMPTY
    return {
        "sector": sector,
        "seq": None if empty else entry.seq,
        "state": None if empty else otadata.state_name(entry.state),
        "crc_ok": entry.crc_ok,
    }


def _slot(board: VirtualBoard, slot: table.Partition, state: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "label": slot.label,
        "offset": slot.offset,
        "size": slot.size,
        "state": state,
        "image": "empty",
        "valid": False,
        **dict.fromkeys(_KEPT),
        "signatures": [],
    }
    content = bytes(board.flash.read(slot.offset, slot.size))
    if content[:16] == b"\xff" * 16:
        return fields
    try:
        bootloader.verify_image(board.flash, slot, board.efuse)
        found = images.fields_of(parse_slot(content))
    except ImageError as error:
        return {**fields, "image": f"{error.code}: {error}"}
    return {**fields, "image": "valid", "valid": True, **{name: found[name] for name in _KEPT}}
