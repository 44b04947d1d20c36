"""NVS when power goes: every key has its old or its new value, whatever operation was cut.

Each change is tried with a cut before each of its flash operations, with the operation torn, and
with a second cut while the mount after the first repairs.
"""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.micropython.test_virtual_nvs import NorPartition
from tests.virtual_esp32.test_nvs_images import Value, image_of, parse_image, stored
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.nvs import NVS
from virtual_esp32.nvs_storage import NvsStorage

Model = dict[str, Value]
Change = tuple[str, str, int]


class PowerCut(Exception):
    pass


class CutFlash(NorFlash):
    """Flash whose power goes at operation `cut` (from 0); `noise` tears that operation."""

    def __init__(
        self, image: bytes, cut: int | None = None, noise: random.Random | None = None
    ) -> None:
        self.memory = MemoryStorage(image)
        super().__init__(self.memory)
        self._cut = cut
        self._noise = noise

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.operations == self._cut:
            if self._noise:
                whole = self._noise.randrange(0, len(data), 4)
                super().write(offset, bytes(data[:whole]) + self._torn_word(offset, data, whole))
            raise PowerCut
        super().write(offset, data)

    def _torn_word(self, offset: int, data: bytes | bytearray | memoryview, at: int) -> bytes:
        assert self._noise
        old = self.memory.content[offset + at : offset + at + 4]
        new = data[at : at + 4]
        return bytes((n | self._noise.randrange(256)) & o for o, n in zip(old, new, strict=True))

    def erase_sector(self, sector: int) -> None:
        if self.operations == self._cut:
            if self._noise:
                self._tear_sector(sector)
            raise PowerCut
        super().erase_sector(sector)

    def _tear_sector(self, sector: int) -> None:
        assert self._noise
        piece = self._noise.choice([4, 32, 256])
        for start in range(sector * 4096, (sector + 1) * 4096, piece):
            old = self.memory.content[start : start + piece]
            content = [old, b"\xff" * piece, bytes(b | self._noise.randrange(256) for b in old)]
            self.memory.content[start : start + piece] = self._noise.choice(content)


def blob(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def apply(nvs: NVS, model: Model, change: Change) -> Model:
    """Make a change; returns the model after it. A change without space changes nothing."""
    what, key, number = change
    after = dict(model)
    try:
        if what == "i32":
            nvs.set_i32(key, number)
            after[key] = ("i32", number)
        elif what == "blob":
            value = blob(number, number % 6000)
            nvs.set_blob(key, value)
            after[key] = ("blob", value)
        else:
            nvs.erase_key(key)
            del after[key]
    except OSError as error:
        if error.errno not in (-0x1105, -0x110E) and (error.errno != -0x1102 or key in model):
            raise
        return model
    nvs.commit()
    return after


def content(partition: NorPartition, *, torn: bool = False) -> Model:
    """What a mount finds; the same as a parser of its own finds after it."""
    values = stored(NvsStorage(partition))
    assert parse_image(image_of(partition), torn=torn) == values
    return {key: value for (_, key), value in values.items()}


def cuts(
    image: bytes, change: Change, model: Model, noise: random.Random | None
) -> Iterator[bytes]:
    """The flash after each cut of a change."""
    for cut in range(100_000):
        flash = CutFlash(image)
        nvs = NVS(NvsStorage(NorPartition(flash)), "test")
        flash._cut, flash._noise = flash.operations + cut, noise
        try:
            apply(nvs, model, change)
        except PowerCut:
            yield bytes(flash.memory.content)
        else:
            return


def check_cuts(
    image: bytes, change: Change, old: Model, new: Model, noise: random.Random | None = None
) -> int:
    number = 0
    for cut_image in cuts(image, change, old, noise):
        number += 1
        found = content(NorPartition(CutFlash(cut_image)), torn=noise is not None)
        assert found in (old, new), f"cut {number - 1} of {change}"
    return number


# Fills pages with what stays, then changes values of every size and type, over several pages.
SERIES: list[Change] = [
    *(("i32", f"stays{i}", i) for i in range(60)),
    ("blob", "stays", 500),
    *(("i32", "count", i) for i in range(50)),
    ("blob", "b", 100),
    ("blob", "b", 5900),
    ("i32", "b", 7),
    ("blob", "b", 4000),
    ("i32", "count", 100),
    ("blob", "count", 33),
    ("blob", "b", 5000),
    ("erase", "count", 0),
    ("erase", "b", 0),
    *(("i32", "count", i) for i in range(130)),
    ("blob", "c", 3999),
]  # fmt: skip


def played(pages: int, series: list[Change]) -> Iterator[tuple[bytes, Change, Model, Model]]:
    """Each step of a series: flash and model before it, model after it."""
    flash = CutFlash(b"\xff" * 4096 * pages)
    nvs = NVS(NvsStorage(NorPartition(flash)), "test")
    model: Model = {}
    for change in series:
        before, image = model, bytes(flash.memory.content)
        model = apply(nvs, model, change)
        yield image, change, before, model


@pytest.mark.parametrize("pages", [4, 6])
def test_a_cut_before_any_operation_leaves_the_old_or_the_new_value(pages: int) -> None:
    number = sum(check_cuts(*step) for step in played(pages, SERIES))
    assert number > 800


@pytest.mark.parametrize("seed", range(4))
def test_a_torn_operation_leaves_the_old_or_the_new_value(seed: int) -> None:
    noise = random.Random(seed)
    steps = [step for step in played(4, SERIES) if step[1][0] != "i32" or step[1][2] % 9 == 0]
    assert sum(check_cuts(*step, noise) for step in steps) > 300


def test_a_second_cut_during_the_repair_loses_nothing_either() -> None:
    tried = 0
    for image, change, old, new in played(4, SERIES[110:120]):
        for first in cuts(image, change, old, None):
            for cut in range(100_000):
                flash = CutFlash(first, cut)
                try:
                    NvsStorage(NorPartition(flash))
                    break
                except PowerCut:
                    tried += 1
                found = content(NorPartition(CutFlash(bytes(flash.memory.content))))
                assert found in (old, new)
    assert tried > 100


def test_the_namespace_itself_is_old_or_new_after_a_cut() -> None:
    for cut in range(3):
        flash = CutFlash(b"\xff" * 4096 * 3, cut)
        with pytest.raises(PowerCut):
            NVS(NvsStorage(NorPartition(flash)), "test")
        partition = NorPartition(CutFlash(bytes(flash.memory.content)))
        NVS(NvsStorage(partition), "test").set_i32("key", 1)
        assert content(partition) == {"key": ("i32", 1)}


def test_after_a_failed_flash_operation_nothing_is_written_until_the_next_mount() -> None:
    flash = CutFlash(b"\xff" * 4096 * 3)
    nvs = NVS(NvsStorage(NorPartition(flash)), "test")
    nvs.set_i32("key", 1)
    flash._cut = flash.operations + 1
    with pytest.raises(PowerCut):
        nvs.set_i32("key", 2)
    flash._cut = None
    with pytest.raises(OSError, match="INVALID_STATE"):
        nvs.set_i32("key", 3)
    assert content(NorPartition(CutFlash(bytes(flash.memory.content)))) == {"key": ("i32", 1)}


class LiftingFlash(CutFlash):
    """Power goes in an erase that has lifted only the page state so far, to `state`."""

    def __init__(self, image: bytes, cut: int, state: int) -> None:
        super().__init__(image, cut)
        self._state = state

    def erase_sector(self, sector: int) -> None:
        if self.operations == self._cut:
            self.memory.content[sector * 4096] = self._state
        super().erase_sector(sector)


@pytest.mark.parametrize("state", [0xFC, 0xFE])
def test_a_page_whose_erase_has_just_begun_does_not_count_twice(state: int) -> None:
    lifted = 0
    for image, change, old, new in played(4, SERIES):
        for cut in range(100_000):
            flash = LiftingFlash(image, cut, state)
            try:
                apply(NVS(NvsStorage(NorPartition(flash)), "test"), old, change)
                break
            except PowerCut:
                found = content(NorPartition(CutFlash(bytes(flash.memory.content))), torn=True)
                assert found in (old, new)
                lifted += 1
    assert lifted > 100


CHANGES = st.tuples(
    st.sampled_from(["i32", "i32", "i32", "blob", "blob", "erase"]),
    st.sampled_from(["a", "b", "c", "d", "fifteen letters"]),
    st.integers(0, 20000),
)


@settings(max_examples=120, deadline=None)
@given(pages=st.integers(3, 5), series=st.lists(CHANGES, max_size=60))
def test_any_series_of_changes_leaves_what_a_dict_would_hold(
    pages: int, series: list[Change]
) -> None:
    flash = CutFlash(b"\xff" * 4096 * pages)
    nvs = NVS(NvsStorage(NorPartition(flash)), "test")
    model: Model = {}
    for change in series:
        model = apply(nvs, model, change)
    assert parse_image(bytes(flash.memory.content)) == {("test", k): v for k, v in model.items()}
    assert content(NorPartition(flash)) == model


@settings(max_examples=150, deadline=None)
@given(
    pages=st.integers(3, 5),
    series=st.lists(CHANGES, min_size=1, max_size=40),
    cut=st.integers(0, 600),
    seed=st.none() | st.integers(0, 1 << 32),
)
def test_any_series_cut_anywhere_leaves_the_old_or_the_new_value(
    pages: int, series: list[Change], cut: int, seed: int | None
) -> None:
    noise = None if seed is None else random.Random(seed)
    flash = CutFlash(b"\xff" * 4096 * pages, cut, noise)
    model: Model = {}
    after: Model = {}
    try:
        nvs = NVS(NvsStorage(NorPartition(flash)), "test")
        for change in series:
            what, key, number = change
            after = dict(model)
            after.pop(key, None)
            if what != "erase":
                value = number if what == "i32" else blob(number, number % 6000)
                after[key] = (what, value)
            model = after = apply(nvs, model, change)
    except PowerCut:
        pass
    partition = NorPartition(CutFlash(bytes(flash.memory.content)))
    found = content(partition, torn=seed is not None)
    assert found in (model, after)
    operations = partition.flash.operations
    assert content(partition, torn=seed is not None) == found
    assert partition.flash.operations == operations, "a second mount finds nothing to repair"
