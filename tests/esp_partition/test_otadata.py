"""otadata: the rules of boot.md, held against a model written from ESP-IDF's C."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_partition import OtadataError, otadata

STATES = [0, 1, 2, 3, 4, 0xFFFFFFFF]
seqs = st.integers(0, 6) | st.integers(0xFFFFFFF0, 0xFFFFFFFF) | st.integers(0, 0xFFFFFFFF)
states = st.sampled_from(STATES)
slot_counts = st.integers(1, 16)


def entry_of(seq, state, crc_fits=True, label=b"\xff" * 20):
    crc = zlib.crc32(struct.pack("<I", seq), 0xFFFFFFFF) ^ (0 if crc_fits else 1)
    return otadata.parse_entry(struct.pack("<I20sII", seq, label, state, crc))


entries = st.builds(entry_of, seqs, states, st.booleans(), st.binary(min_size=20, max_size=20))


@given(entries)
def test_an_entry_that_is_built_again_is_the_same_but_for_its_crc(entry):
    raw = otadata.build_entry(entry.seq, entry.state, entry.label)
    again = otadata.parse_entry(raw)
    assert (again.seq, again.state, again.label) == (entry.seq, entry.state, entry.label)
    assert again.crc_ok


@given(entries)
def test_invalid_and_valid_follow_esp_idf(entry):
    invalid = entry.seq == 0xFFFFFFFF or entry.state in (3, 4)
    assert entry.is_invalid == invalid
    assert entry.is_valid == (not invalid and entry.crc_ok)


@given(entries, entries)
def test_the_larger_valid_sequence_is_active_and_of_equals_the_first(a, b):
    valid = [i for i, e in enumerate((a, b)) if e.is_valid]
    expected = max(valid, key=lambda i: ((a, b)[i].seq, -i)) if valid else None
    assert otadata.active_index(a, b) == expected


@given(entries, entries, slot_counts, st.data())
def test_the_next_entry_boots_its_slot_and_leaves_the_active_sector_alone(a, b, slots, draw):
    slot = draw.draw(st.integers(0, slots - 1))
    active = otadata.active_index(a, b)
    try:
        sector, raw = otadata.next_entry([a, b], slot, slots, otadata.NEW)
    except OtadataError as error:
        code = error.code
    else:
        code = None
    assert code is None or (code == "seq-exhausted" and max(a.seq, b.seq) > 0xFFFFFFE0)
    if code:
        return
    pair = [a, b]
    pair[sector] = otadata.parse_entry(raw)
    assert pair[sector].is_valid and pair[sector].state == otadata.NEW
    assert otadata.slot_of(pair[sector].seq, slots) == slot
    assert pair[sector].label == (a, b)[sector].label
    if active is None:
        assert (sector, pair[0].seq) == (0, slot + 1)
    else:
        old = (a, b)[active].seq
        assert sector == 1 - active
        assert old <= pair[sector].seq <= old + slots
        assert not any(otadata.slot_of(seq, slots) == slot for seq in range(old, pair[sector].seq))


@given(st.integers(1, 1000), slot_counts, st.data())
def test_the_next_sequence_is_the_one_esp_idf_counts_to(seq, slots, draw):
    slot = draw.draw(st.integers(0, slots - 1))
    expected = (slot + 1) % slots
    while seq > expected:
        expected += slots
    active = entry_of(seq, otadata.VALID)
    _, raw = otadata.next_entry([active, entry_of(0, 3)], slot, slots, otadata.UNDEFINED)
    assert otadata.parse_entry(raw).seq == expected


def test_setting_the_active_slot_again_follows_5_2_2_or_master():
    pair = [entry_of(3, otadata.VALID), entry_of(2, otadata.VALID)]
    assert otadata.next_entry(pair, 0, 2, otadata.NEW)[0] == 1
    assert otadata.next_entry(pair, 0, 2, otadata.NEW, keep_sector=True)[0] == 0
    assert otadata.next_entry(pair, 1, 2, otadata.NEW, keep_sector=True)[0] == 1


@pytest.mark.parametrize(("change", "state"), [("confirm", 2), ("reject", 3)])
def test_confirming_and_rejecting_change_the_state_and_nothing_else(change, state):
    label = bytes(range(20))
    pair = [entry_of(1, otadata.VALID), entry_of(2, otadata.PENDING_VERIFY, label=label)]
    sector, raw = getattr(otadata, change)(pair)
    assert sector == 1
    assert raw == otadata.build_entry(2, state, label)
    assert raw == otadata.with_state(pair[1], state)


def test_the_image_to_fall_back_to_is_the_other_entrys_or_the_factory_one():
    pair = [entry_of(1, otadata.VALID), entry_of(2, otadata.PENDING_VERIFY)]
    assert otadata.fallback_slot(pair, 2) == 0
    pair[0] = entry_of(1, otadata.INVALID)
    assert otadata.fallback_slot(pair, 2) is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_entry_has_32_bytes(size):
    with pytest.raises(ValueError, match="32 bytes"):
        otadata.parse_entry(bytes(size))


@pytest.mark.parametrize(
    "call",
    [
        lambda: otadata.slot_of(1, 0),
        lambda: otadata.slot_of(1, 17),
        lambda: otadata.next_entry([entry_of(1, 2)] * 2, 2, 2, 0),
        lambda: otadata.build_entry(1 << 32, 0),
        lambda: otadata.build_entry(1, -1),
        lambda: otadata.build_entry(1, 0, b"short"),
    ],
)
def test_arguments_that_make_no_sense_are_a_callers_bug(call):
    with pytest.raises(ValueError, match=r"\d"):
        call()


def test_a_state_has_the_name_esp_idf_gives_it():
    assert otadata.state_name(1) == "PENDING_VERIFY"
    assert otadata.state_name(0x55) == "0x55"
    assert repr(entry_of(7, 2, False)) == "Entry(seq=7, state=VALID, crc wrong)"
