"""A table of boot situations: what the virtual bootloader does is what ESP-IDF's rules say.

The model below is written from those rules, in terms of what a case *is* (a slot holds a damaged
image, an entry's CRC is wrong), never of bytes, and shares no code with the bootloader.
"""

import itertools
import random
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esp_image import ImageError, build
from esp_image.signature import parse_sector
from esp_partition import otadata, table
from esp_partition.table import Partition
from tests.micropython.signed_images import OWNER, STRANGER, signed_app
from virtual_esp32 import bootloader
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
UNDEFINED = EMPTY = 0xFFFFFFFF
STATES = (NEW, PENDING, VALID, INVALID, ABORTED, UNDEFINED, 0x12345678)
SEQS = (EMPTY, 0, 1, 2, 0xFFFFFFFE)
OTADATA = (0xD000, 0xE000)
FIRST_APP = 0x10000
APP_BYTES = 0x10000
MAC = b"\x02\x00\x00\x00\x00\x02"

Entry = tuple[int, int, bool]  # seq, state, whether the CRC fits


def _damaged(image: bytes) -> bytes:
    broken = bytearray(image)
    broken[400] ^= 0x10
    return bytes(broken)


IMAGES = {
    "empty": b"",
    "good": signed_app("1.0.0", OWNER),
    "good, version 2": signed_app("2.0.0", OWNER, secure_version=2),
    "badly signed": signed_app("3.0.0", STRANGER, secure_version=2),
    "unsigned": build.build_app("4.0.0", "thermo", chip="esp32c6", secure_version=1),
    "damaged": _damaged(signed_app("5.0.0", OWNER, secure_version=1)),
}
SECURE_VERSIONS = {"good": 0, "good, version 2": 2, "badly signed": 2, "unsigned": 1, "damaged": 1}
OWNER_DIGEST = parse_sector(memoryview(IMAGES["good"])[-4096:])[0].key_digest


class Case(NamedTuple):
    """One situation. images: what is in factory (None: there is none), the slots, the test app."""

    entries: tuple[Entry, Entry]
    factory: str | None
    slots: tuple[str, ...]
    test: str | None = None
    rollback: bool = True
    anti_rollback: bool = False
    secure_boot: bool = False
    secure_version: int = 0


class Outcome(NamedTuple):
    """What boots, both entries afterwards, eFuse's secure version, the entry that was active."""

    boots: str | None
    entries: tuple[Entry, Entry]
    secure_version: int
    active: int | None


class Model:
    """The rules, over the words of a Case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.entries = list(case.entries)
        self.fuse = case.secure_version
        self.record = False
        self.active: int | None = None

    def run(self) -> Outcome:
        case = self.case
        if case.rollback:
            self.entries = [(s, ABORTED if t == PENDING else t, c) for s, t, c in self.entries]
        start = self._start_anti_rollback() if case.anti_rollback else self._start()
        booted = next((name for name in self._search(start) if self._boots(name)), None)
        if self.record and booted is not None and booted.startswith("ota_"):
            slot = int(booted[4:])
            self.entries[0] = (slot + 1, VALID, True)
            if case.anti_rollback:
                self._raise(slot)
        return Outcome(booted, (self.entries[0], self.entries[1]), self.fuse, self.active)

    def _image(self, name: str) -> str | None:
        if name == "factory":
            return self.case.factory
        return self.case.test if name == "test" else self.case.slots[int(name[4:])]

    def _slot(self, entry: Entry) -> int:
        return (entry[0] + 0xFFFFFFFF) % 2**32 % len(self.case.slots)

    @staticmethod
    def _is_invalid(entry: Entry) -> bool:
        return entry[0] == EMPTY or entry[1] in (INVALID, ABORTED)

    def _is_valid(self, entry: Entry) -> bool:
        return entry[2] and not self._is_invalid(entry)

    def _blank(self) -> bool:
        return all(seq == EMPTY or not crc for seq, _, crc in self.entries)

    def _newest(self, candidates: list[int]) -> int | None:
        return max(candidates, key=lambda i: (self.entries[i][0], -i), default=None)

    def _start(self) -> int:
        if not self.case.slots or all(map(self._is_invalid, self.entries)):
            if self.case.factory is not None:
                return -1
            self.record = self._blank()
            return 0
        return self._take([i for i in (0, 1) if self._is_valid(self.entries[i])])

    def _start_anti_rollback(self) -> int:
        if self._blank():
            self.record = True
            return -1
        slots = self.case.slots
        start = self._take(
            [
                i
                for i in (0, 1)
                if slots
                and self._is_valid(self.entries[i])
                and SECURE_VERSIONS.get(slots[self._slot(self.entries[i])], -1) >= self.fuse
            ]
        )
        if self.active is not None and self.entries[self.active][1] == VALID:
            self._raise(start)
        return start

    def _take(self, candidates: list[int]) -> int:
        self.active = self._newest(candidates)
        if self.active is None:
            return -1
        entry = self.entries[self.active]
        if self.case.rollback and entry[1] == NEW:
            self.entries[self.active] = (entry[0], PENDING, True)
        return self._slot(entry)

    def _raise(self, slot: int) -> None:
        self.fuse = max(self.fuse, SECURE_VERSIONS[self.case.slots[slot]])

    def _search(self, start: int) -> Iterator[str]:
        names = ["factory"] + [f"ota_{i}" for i in range(len(self.case.slots))]
        yield from reversed(names[: start + 2])
        yield from names[start + 2 :]
        yield "test"

    def _boots(self, name: str) -> bool:
        image = self._image(name) if name in ("factory", "test") or self.case.slots else None
        if image is None:
            return False
        if self.case.anti_rollback and SECURE_VERSIONS.get(image, -1) < self.fuse:
            return False
        wanted = ("good", "good, version 2")
        if not self.case.secure_boot:
            wanted += ("badly signed", "unsigned")
        return image in wanted


def pack(entry: Entry) -> bytes:
    seq, state, crc_ok = entry
    crc = zlib.crc32(struct.pack("<I", seq), 0xFFFFFFFF)
    wrong = 0xFFFFFFFF if seq == EMPTY else crc ^ 0x80
    return struct.pack("<I20sII", seq, b"\xff" * 20, state, crc if crc_ok else wrong)


class Rig:
    """One flash per partition layout, refilled for each case; each image is verified once."""

    def __init__(self, slots: int, factory: bool, test: bool = False) -> None:
        names = ["factory"] * factory + [f"ota_{i}" for i in range(slots)] + ["test"] * test
        self.offsets = {name: FIRST_APP + i * APP_BYTES for i, name in enumerate(names)}
        rows = "".join(f"{n},app,{n},0x{o:x},0x{APP_BYTES:x}\n" for n, o in self.offsets.items())
        self.partitions = table.parse_csv(
            "nvs,data,nvs,0x9000,0x4000\notadata,data,ota,0xd000,0x2000\n" + rows
        )
        self.storage = MemoryStorage(b"\xff" * (FIRST_APP + len(names) * APP_BYTES))
        self.storage.write(table.TABLE_OFFSET, table.build(self.partitions))
        self.verdicts: dict[tuple[str, bool], ImageError | None] = {}
        self.placed: dict[str, str] = {}
        self.real_verify = bootloader.verify_image

    def boot(self, case: Case) -> Outcome:
        placed = {"factory": case.factory, "test": case.test}
        placed.update({f"ota_{i}": image for i, image in enumerate(case.slots)})
        for name, offset in self.offsets.items():
            image = placed[name]
            assert image is not None
            if self.placed.get(name) != image:
                self.storage.write(offset, IMAGES[image] + b"\xff" * (12288 - len(IMAGES[image])))
                self.placed[name] = image
        for offset, entry in zip(OTADATA, case.entries, strict=True):
            self.storage.write(offset, pack(entry))
        digests = [OWNER_DIGEST] if case.secure_boot else []
        efuse = EFuse(MAC, "esp32c6", secure_boot=2 * case.secure_boot, key_digests=digests,
                      secure_version=case.secure_version)  # fmt: skip
        flash = NorFlash(self.storage)
        decision = bootloader.boot(flash, efuse, case.rollback, case.anti_rollback)
        raised = efuse.secure_version if efuse.secure_version != case.secure_version else None
        assert decision.secure_version == raised
        raw = [bytes(flash.read(offset, 32)) for offset in OTADATA]
        assert flash.operations % 2 == 0
        if not flash.operations:
            assert raw == [pack(entry) for entry in case.entries]
        return Outcome(
            decision.partition.label if decision.partition else None,
            (unpack(raw[0]), unpack(raw[1])),
            efuse.secure_version,
            active_by_pure_rules(case),
        )

    def verify(self, flash: NorFlash, partition: Partition, efuse: EFuse) -> None:
        key = (self.placed[partition.label], bool(efuse.secure_boot))
        if key not in self.verdicts:
            try:
                self.real_verify(flash, partition, efuse)
                self.verdicts[key] = None
            except ImageError as error:
                self.verdicts[key] = error
        verdict = self.verdicts[key]
        if verdict is not None:
            raise verdict


def unpack(raw: bytes) -> Entry:
    seq, label, state, _ = struct.unpack("<I20sII", raw)
    assert label == b"\xff" * 20
    crc_ok = raw == pack((seq, state, True))
    assert crc_ok or raw == pack((seq, state, False))
    return seq, state, crc_ok


def active_by_pure_rules(case: Case) -> int | None:
    """What esp_partition says of the entries, PENDING_VERIFY given up where rollback does so."""
    entries = [otadata.parse_entry(pack(entry)) for entry in case.entries]
    for entry in entries:
        if case.rollback and entry.state == PENDING:
            entry.state = ABORTED
    if not case.slots:
        return None
    return otadata.active_index(entries[0], entries[1])


def check(rig: Rig, cases: Iterator[Case], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(bootloader, "verify_image", rig.verify)
    monkeypatch.setattr(bootloader, "read_partition_table", lambda flash: rig.partitions)
    count = 0
    for case in cases:
        expected, found = Model(case).run(), rig.boot(case)
        if case.anti_rollback:  # which entry is active is then the secure versions' matter too
            found = found._replace(active=expected.active)
        assert found == expected, case
        count += 1
    return count


ENTRIES: list[Entry] = list(itertools.product(SEQS, STATES, (True, False)))
MODES = list(itertools.product((True, False), (True, False)))


@pytest.mark.parametrize("factory", [False, True])
def test_every_pair_of_entries_boots_what_the_rules_say(
    factory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,900 pairs of entries, with and without rollback and anti-rollback; images as drawn."""
    draw = random.Random(factory)
    kinds = list(IMAGES)

    def cases() -> Iterator[Case]:
        for pair in itertools.product(ENTRIES, repeat=2):
            for rollback, anti_rollback in MODES:
                yield Case(
                    pair, draw.choice(kinds) if factory else None, tuple(draw.choices(kinds, k=2)),
                    None, rollback, anti_rollback, draw.random() < 0.5, draw.choice((0, 1, 2)),
                )  # fmt: skip

    assert check(Rig(2, factory), cases(), monkeypatch) == 4 * len(ENTRIES) ** 2


@pytest.mark.parametrize("factory", [False, True])
def test_every_set_of_images_boots_what_the_rules_say(
    factory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of image in each place, for entries that lead into each branch."""
    pairs = [
        ((EMPTY, UNDEFINED, False), (EMPTY, UNDEFINED, False)),
        ((1, VALID, True), (2, NEW, True)),
        ((1, VALID, True), (2, VALID, True)),
        ((3, UNDEFINED, True), (2, PENDING, True)),
        ((1, INVALID, True), (2, ABORTED, True)),
        ((1, VALID, False), (EMPTY, UNDEFINED, False)),
    ]
    places = [list(IMAGES)] * 2 + [list(IMAGES) if factory else [None]]
    cases = (
        Case(pair, images[2], images[:2], None, rollback, anti, secure_boot, version)
        for pair in pairs
        for images in itertools.product(*places)
        for rollback, anti in ((True, False), (False, False), (True, True))
        for secure_boot in (False, True)
        for version in ((0, 2) if anti else (0,))
    )
    assert check(Rig(2, factory), cases, monkeypatch) > 1500


@pytest.mark.parametrize("slots", [0, 1, 3, 7, 16])
@pytest.mark.parametrize("factory", [False, True])
@pytest.mark.parametrize("test", [False, True])
def test_tables_of_other_sizes_boot_what_the_rules_say(
    slots: int, factory: bool, test: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(slots * 4 + factory * 2 + test)
    kinds = [*IMAGES, "empty", "empty", "damaged"]
    seqs = [EMPTY, 0, 1, slots, slots + 1, 1000, 0xFFFFFFFE]

    def entry() -> Entry:
        return draw.choice(seqs), draw.choice(STATES), draw.random() < 0.8

    cases = (
        Case(
            (entry(), entry()), draw.choice(kinds) if factory else None,
            tuple(draw.choices(kinds, k=slots)), draw.choice(kinds) if test else None,
            *draw.choice(MODES), draw.random() < 0.5, draw.choice((0, 1, 2)),
        )
        for _ in range(400)
    )  # fmt: skip
    check(Rig(slots, factory, test), cases, monkeypatch)


@settings(max_examples=150, deadline=None)
@given(
    raw=st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32)),
    image=st.binary(max_size=600),
    cut=st.integers(0, 600),
    rollback=st.booleans(),
    anti_rollback=st.booleans(),
)
def test_whatever_stands_in_otadata_and_slots_nothing_crashes(
    raw: tuple[bytes, bytes], image: bytes, cut: int, rollback: bool, anti_rollback: bool
) -> None:
    rig = Rig(2, factory=False)
    rig.storage.write(rig.offsets["ota_0"], IMAGES["unsigned"][:cut] + image)
    for offset, entry in zip(OTADATA, raw, strict=True):
        rig.storage.write(offset, entry)
    decision = bootloader.boot(
        NorFlash(rig.storage), EFuse(MAC, "esp32c6"), rollback, anti_rollback
    )
    assert decision.partition is None or cut + len(image) >= len(IMAGES["unsigned"])
