"""The flash against a plain model, its snapshots against copies, and a flash file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtual_esp32.errors import FlashError
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.flash_faults import Fault, FaultyFlash, PowerCut, kinds

SECTORS = 3
SIZE = SECTORS * 4096

operations = st.lists(
    st.one_of(
        st.tuples(st.just("erase"), st.integers(0, SECTORS - 1)),
        st.tuples(
            st.just("write"),
            st.integers(0, SIZE // 4 - 1).map(lambda word: word * 4),
            st.one_of(
                st.integers(1, 8).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
                st.sampled_from([bytes(4096), b"\x55" * 5000, b"\xaa" * 8192]),
            ),
        ),
        st.just(("snapshot",)),
        st.just(("replace",)),
    ),
    max_size=25,
)


def expected_after(content: bytes, step: tuple) -> bytes | None:  # type: ignore[type-arg]
    """What the content becomes, None if the flash has to refuse."""
    if step[0] == "erase":
        return content[: step[1] * 4096] + b"\xff" * 4096 + content[(step[1] + 1) * 4096 :]
    offset, data = step[1:]
    if offset + len(data) > SIZE:
        return None
    old = content[offset : offset + len(data)]
    if any(b & ~a & 0xFF for a, b in zip(old, data, strict=True)):
        return None
    return content[:offset] + data + content[offset + len(data) :]


@settings(max_examples=120, deadline=None)
@given(operations)
def test_flash_and_snapshots_hold_what_a_plain_copy_would(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """`replace` goes on with a flash made from the last snapshot."""
    flash = NorFlash(MemoryStorage(b"\xff" * SIZE))
    content, wear, done = b"\xff" * SIZE, [0] * SECTORS, 0
    taken = [(flash.snapshot(), content, list(wear), done)]
    for step in steps:
        if step[0] == "snapshot":
            taken.append((flash.snapshot(), content, list(wear), done))
        elif step[0] == "replace":
            snapshot, content, kept, done = taken[-1]
            flash, wear = NorFlash.from_snapshot(snapshot), list(kept)
        else:
            after = expected_after(content, step)
            try:
                (flash.erase_sector if step[0] == "erase" else flash.write)(*step[1:])
                accepted = True
            except FlashError:
                accepted = False
            assert accepted == (after is not None)
            if after is not None:
                content, done = after, done + 1
                if step[0] == "erase":
                    wear[step[1]] += 1
        assert bytes(flash.read(0, SIZE)) == content
        assert (flash.operations, flash.erase_counts) == (done, wear)
    for snapshot, was, worn, count in taken:
        again = NorFlash.from_snapshot(snapshot)
        assert bytes(again.read(0, SIZE)) == was
        assert (again.operations, again.erase_counts) == (count, worn)


@settings(max_examples=80, deadline=None)
@given(
    offset=st.integers(0, 2000).map(lambda word: word * 4),
    data=st.integers(1, 300).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    step=st.sampled_from([4, 256]),
    seed=st.integers(0, 0xFFFFFFFF),
)
def test_no_fault_of_a_write_touches_anything_else(
    offset: int, data: bytes, step: int, seed: int
) -> None:
    base = NorFlash(MemoryStorage(b"\xff" * SIZE)).snapshot()
    for kind in kinds("write", len(data), step):
        flash = FaultyFlash.from_snapshot(base)
        flash.arm(Fault(seed, 0, kind))
        try:
            flash.write(offset, data)
        except (PowerCut, OSError):
            flash.power_on()
        found = bytes(flash.read(0, SIZE))
        assert found[:offset] == b"\xff" * offset
        assert found[offset + len(data) :] == b"\xff" * (SIZE - offset - len(data))
        piece = found[offset : offset + len(data)]
        assert all(b & ~a & 0xFF == 0 for a, b in zip(piece, data, strict=True)), kind


def test_a_fault_on_a_flash_file_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"\xff" * 8192)
    flash = FaultyFlash.open(str(path))
    before = flash.snapshot()
    flash.arm(Fault(1, 0, "cut-write:8"))
    with pytest.raises(PowerCut, match="power cut: seed 1, operation 0, cut-write:8"):
        flash.write(4096, bytes(16))
    flash.close()
    assert path.read_bytes() == b"\xff" * 4096 + bytes(8) + b"\xff" * 4088
    assert bytes(NorFlash.from_snapshot(before).read(0, 8192)) == b"\xff" * 8192
