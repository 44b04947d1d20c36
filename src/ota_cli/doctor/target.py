"""What firmware would be written to: a flash file or a partition table, by the board's rules."""

from dataclasses import dataclass
from pathlib import Path

from esp_image.header import Descriptor
from esp_partition import PartitionTableError, table
from ota_cli.board.flash_file import opened
from ota_cli.doctor.finding import Finding, Findings
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes
from ota_crypto.steps import run
from ota_service import confirmation, secure_version
from ota_service.config import Config
from ota_service.descriptor import read_descriptor
from ota_service.errors import OtaError
from ota_service.trust import Trust, find_trust_steps
from virtual_esp32 import VirtualBoardError
from virtual_esp32.board import VirtualBoard


@dataclass
class Target:
    """None or empty is not known. slot_bytes: of the slot an update goes to. floor: the least
    secure version. running: of the firmware that runs. trust: whose signature counts."""

    chip: str = ""
    chip_id: int | None = None
    chip_revision: int | None = None
    slot_bytes: int | None = None
    floor: int = 0
    running: Descriptor | None = None
    trust: Trust | None = None


def look_at_flash(path: Path, config: Config | None) -> tuple[list[Finding], Target | None]:
    """A flash file, which is not changed. config: the board's settings, if they are known."""
    findings = Findings(f"flash {path}")
    try:
        with opened(path, copy=True) as board:
            target = _read_board(board, config, findings)
    except CommandError as error:
        findings.add("flash-unreadable", str(error))
        return findings.found, None
    except (VirtualBoardError, PartitionTableError, OSError) as error:
        findings.add("flash-not-bootable", str(error))
        return findings.found, None
    if findings.are_fine():
        slot = f"a slot of {target.slot_bytes} bytes"
        findings.add("flash-ok", f"{target.chip}, {slot}, key of the {_source(target)}")
    return findings.found, target


def look_at_partitions(path: Path) -> tuple[list[Finding], Target | None]:
    """A partition table as CSV."""
    findings = Findings(f"partitions {path}")
    try:
        partitions = table.parse_csv(read_bytes(path, "partition table").decode())
        table.check(partitions)
        slots = table.ota_slots(partitions)
    except CommandError as error:
        findings.add("partitions-invalid", str(error))
        return findings.found, None
    except (PartitionTableError, ValueError) as error:
        text = "not a text" if isinstance(error, UnicodeError) else str(error)
        findings.add("partitions-invalid", text)
        return findings.found, None
    has_factory = bool(table.find(partitions, table.TYPE_APP, table.SUBTYPE_FACTORY))
    if len(slots) + has_factory < 2 or not slots:
        text = f"expected ota_0 and ota_1, found {len(slots)} OTA slots"
        findings.add("partitions-no-second-slot", text)
    if not table.find(partitions, table.TYPE_DATA, table.SUBTYPE_OTADATA):
        findings.add("partitions-no-otadata", "expected a partition data, ota; found none")
    target = Target(slot_bytes=min((slot.size for slot in slots), default=None))
    if findings.are_fine():
        findings.add(
            "flash-ok", f"{len(slots)} OTA slots, the smallest of {target.slot_bytes} bytes"
        )
    return findings.found, target


def _read_board(board: VirtualBoard, config: Config | None, findings: Findings) -> Target:
    board.boot()
    running = board.running_partition()
    target = Target(board.chip, board.chip_id, board.chip_revision)
    target.running = read_descriptor(running)
    slots = table.ota_slots(list(board.partitions))
    spare = [slot for slot in slots if slot.offset != running.info()[2]]
    if not spare:
        findings.add("partitions-no-second-slot", "expected a slot beside the running one")
    else:
        target.slot_bytes = min(slot.size for slot in spare)
    if not board.find_partitions(table.TYPE_DATA, table.SUBTYPE_OTADATA):
        findings.add("partitions-no-otadata", "expected a partition data, ota; found none")
    elif confirmation.is_pending(board):
        findings.add("flash-not-confirmed", f"the firmware in {running.info()[4]}")
    try:
        target.floor = secure_version.floor(board, target.running)
    except OtaError as error:
        findings.add("flash-unreadable", str(error))
    keys = config.trusted_keys if config is not None else list(board.efuse.trusted_keys)
    unsigned = config.allow_unsigned if config is not None else False
    try:
        target.trust = run(find_trust_steps(board, keys, unsigned))
    except OtaError as error:
        findings.add("flash-no-trusted-key", str(error))
    return target


def _source(target: Target) -> str:
    return target.trust.source if target.trust is not None else "nobody"
