"""Updaters that are wrong on purpose: each breaks one rule that keeps a board alive."""

from collections.abc import Callable, Iterator
from typing import Any

from esp_partition import otadata
from ota_crypto import steps
from ota_service import slot_writer
from ota_service.session import Session
from virtual_esp32 import bootloader
from virtual_esp32.board import VirtualBoard
from virtual_esp32.firmware_runs import Firmware, Progress


def switch_without_looking(board: VirtualBoard, slot: Any) -> None:
    """Partition.set_boot without the validation that ESP-IDF's does."""
    where = bootloader.find_otadata(list(board.partitions))
    assert where is not None
    entries = bootloader.read_otadata(board.flash, where)
    number = int(slot.info()[4][-1])
    sector, entry = otadata.next_entry(entries, number, 2, otadata.NEW)
    bootloader.write_otadata(board.flash, where, sector, entry)


class SwitchesBeforeVerification(Firmware):
    """Otadata names the new image, which is then verified."""

    def update(self, board: VirtualBoard, image: bytes, policy: str, progress: Progress) -> None:
        session = self.new_session(board, policy)
        session.begin_attempt()
        session.connected()
        self.receive(session, image)
        writer: Any = session._writer  # type: ignore[attr-defined]
        writer.finish()
        writer.release()
        session.slot.set_boot()
        steps.run(session.verify_steps())
        progress.passed = True
        board.reset()


class _ErasesBoth(Session):
    def switch(self, boots_next: Callable[[], bool]) -> None:
        self._writer.release()  # type: ignore[attr-defined]
        slot: Any = self.slot
        board = slot._board
        where = bootloader.find_otadata(board.partitions)
        assert where is not None
        entries = bootloader.read_otadata(board.flash, where)
        number = int(slot.info()[4][-1])
        sector, entry = otadata.next_entry(entries, number, 2, otadata.NEW)
        for i in (0, 1):
            board.flash.erase_sector(where.offset // 4096 + i)
        board.flash.write(where.offset + sector * 4096, entry)


class ErasesBothOtadataSectors(Firmware):
    """The sector that is in use goes with the other one."""

    session = _ErasesBoth


class _FirstBytesFirst(slot_writer.SlotWriter):
    def _write_first(self) -> None:
        self.withheld[:] = self._sector[:16]  # type: ignore[attr-defined]
        self._partition.writeblocks(0, self._sector)  # type: ignore[attr-defined]

    def release(self) -> None:
        pass


class FirstBytesFirst(Firmware):
    """The image's magic is written with the rest of its first sector."""

    def receive(self, session: Session, image: bytes | memoryview) -> None:
        session._writer = _FirstBytesFirst(session.slot)  # type: ignore[attr-defined]
        super().receive(session, image)


class WritesTheRunningSlot(Firmware):
    """A last sector of the running slot, behind its image, serves as a notepad."""

    def update(self, board: VirtualBoard, image: bytes, policy: str, progress: Progress) -> None:
        running = board.running_partition()
        running.ioctl(6, running.info()[3] // 4096 - 1)
        super().update(board, image, policy, progress)


class _NeverReadsBack(Session):
    def verify_steps(self) -> Iterator[None]:
        self._go("whole")  # type: ignore[attr-defined]
        self._writer.finish()  # type: ignore[attr-defined]
        self._go("verified")  # type: ignore[attr-defined]
        yield

    def switch(self, boots_next: Callable[[], bool]) -> None:
        slot: Any = self.slot
        slot.writeblocks(0, self._writer.withheld, 0)  # type: ignore[attr-defined]
        switch_without_looking(slot._board, slot)


class NeverReadsBack(Firmware):
    """What was sent to flash counts as written, and what came as verified."""

    session = _NeverReadsBack
