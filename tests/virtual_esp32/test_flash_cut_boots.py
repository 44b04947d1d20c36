"""Power cuts while the bootloader itself writes otadata: the next boot finds an image."""

import itertools

import pytest

from esp_image import build
from esp_partition import otadata, table
from virtual_esp32 import bootloader
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage
from virtual_esp32.flash_faults import Fault, FaultyFlash, PowerCut, kinds

APP = build.build_app("1.0.0", "thermo", chip="esp32c6")
FUSES = EFuse(b"\x02\x00\x00\x00\x00\x03", chip="esp32c6")
PARTITIONS = table.parse_csv(
    "nvs,data,nvs,0x9000,0x4000\notadata,data,ota,0xd000,0x2000\n"
    "ota_0,app,ota_0,0x10000,0x10000\nota_1,app,ota_1,0x20000,0x10000\n"
)
SITUATIONS = {
    "a new image's first boot": [(1, otadata.VALID), (2, otadata.NEW)],
    "its rollback": [(1, otadata.VALID), (2, otadata.PENDING_VERIFY)],
    "a new board's first boot": [],
    "both pending": [(1, otadata.PENDING_VERIFY), (2, otadata.PENDING_VERIFY)],
}
SEEDS = range(1, 9)


def flash_with(entries: list[tuple[int, int]]) -> FaultyFlash:
    content = bytearray(b"\xff" * 0x30000)
    rows = table.build(PARTITIONS)
    content[table.TABLE_OFFSET : table.TABLE_OFFSET + len(rows)] = rows
    for offset in (0x10000, 0x20000):
        content[offset : offset + len(APP)] = APP
    for sector, (seq, state) in enumerate(entries):
        at = 0xD000 + 4096 * sector
        content[at : at + 32] = otadata.build_entry(seq, state)
    return FaultyFlash(MemoryStorage(content))


@pytest.mark.parametrize("situation", list(SITUATIONS))
def test_a_boot_cut_anywhere_is_followed_by_one_that_boots(situation: str) -> None:
    flash = flash_with(SITUATIONS[situation])
    start = flash.snapshot()
    operations: list[tuple[str, int]] = []
    flash.on_operation = lambda at, what, offset, data: operations.append((what, len(data or b"")))
    bootloader.boot(flash, FUSES)
    assert operations
    cuts = 0
    for number, (what, size) in enumerate(operations):
        for kind, seed in itertools.product(kinds(what, size, 4), SEEDS):
            again = FaultyFlash.from_snapshot(start)
            again.arm(Fault(seed, number, kind))
            try:
                first = bootloader.boot(again, FUSES).partition
                assert first is not None  # nothing cut: it failed or was lost, and booting went on
            except PowerCut:
                cuts += 1
                again.power_on()
            assert again.struck
            decision = bootloader.boot(again, FUSES)
            assert decision.partition is not None, (kind, seed)
    assert cuts >= len(operations) * len(SEEDS)


def test_a_torn_erase_can_leave_an_entry_that_is_never_rolled_back() -> None:
    """The outcome that ESP-IDF's own layout allows: seq and CRC stay, the state is erased."""
    outcomes = set()
    for seed in range(1, 400):
        flash = flash_with(SITUATIONS["a new image's first boot"])
        flash.arm(Fault(seed, 0, "cut-erase"))
        try:
            bootloader.boot(flash, FUSES)
        except PowerCut:
            flash.power_on()
        entry = otadata.parse_entry(flash.read(0xE000, 32))
        outcomes.add((entry.is_valid, entry.state == otadata.UNDEFINED))
        assert flash.struck
    assert (True, True) in outcomes
