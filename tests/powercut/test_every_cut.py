"""Power cut everywhere: at each flash operation of an update, by each kind of fault."""

from typing import Any

import pytest

from tests.powercut import boards
from virtual_esp32.board import VirtualBoard
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.power_cut_choice import SAMPLED, THOROUGH, Depth
from virtual_esp32.power_cut_verdict import STATE_ERASED, STATE_GARBLED
from virtual_esp32.power_cuts import Proof

CUTS_IN_ALL = 10_000
SEED = 20261125


@pytest.mark.parametrize("configuration", boards.CONFIGURATIONS)
def test_no_cut_bricks_a_board(configuration: str) -> None:
    """At least 10,000 distinct cuts over the configurations: this one's share."""
    print("seed", SEED)
    proof = boards.proof(configuration, seed=SEED)
    done, known = set(), set()
    for cut in proof.cuts(THOROUGH):
        verdict = proof.judge(cut)
        if verdict is not None:
            assert not verdict.problems, (str(cut), proof.phase_of(cut.operation).name)
            done.add(str(cut))
            known.add(verdict.known)
    assert len(done) >= CUTS_IN_ALL // len(boards.CONFIGURATIONS)
    with_rollback = {None, STATE_ERASED, STATE_GARBLED}
    assert known == ({None} if "no rollback" in configuration else with_rollback)


def test_the_life_that_is_cut_has_every_part_of_an_update() -> None:
    proof = boards.proof("no Secure Boot, rollback, no factory")
    struck = {(phase.name, op.note[0]) for phase in proof.phases for op in phase.operations}
    assert struck >= {
        ("update", "boot"),  # a new board: the bootloader writes otadata's first entry
        ("update", "start"),
        ("update", "update"),
        ("confirmation", "boot"),
        ("confirmation", "confirm"),
        ("crash", "boot"),
        ("rollback", "boot"),
        ("failing self-test", "confirm"),
        ("rollback after it", "boot"),
        ("refused update", "update"),
        ("second update", "update"),
        ("second rollback", "boot"),
    }
    assert proof.phases[0].boots_afterwards == "ota_1"
    refused = next(phase for phase in proof.phases if phase.name == "refused update")
    assert refused.result.updated is not None
    assert refused.result.updated.startswith("signature-invalid")


def test_nvs_that_has_to_make_room_in_the_middle_of_it_bricks_nothing() -> None:
    """Its pages are all but full: the floor that confirmation raises moves a page's items."""
    board = VirtualBoard(
        NorFlash(MemoryStorage(boards.flash(factory=False, size=8 * 1024))), boards.efuse(False)
    )
    board.boot()
    theirs = board.nvs("theirs")
    storage: Any = board._nvs  # type: ignore[attr-defined]
    assert theirs is not None
    number = 0
    while len(storage._free) > 1 or storage._pages[-1].room > 2:
        number += 1
        theirs.set_i32(f"key{number % 70}", number)
    worn = bytes(board.flash.read(0, board.flash.size))
    proof = Proof(worn, boards.efuse(False), boards.firmware("2.0.0", 8 * 1024), seed=SEED)
    nvs = [op for phase in proof.phases for op in phase.operations if 0x9000 <= op.offset < 0xD000]
    assert [op.what for op in nvs].count("erase") >= 1
    taken = 0
    for cut in proof.cuts(THOROUGH):
        verdict = proof.judge(cut)
        if verdict is not None:
            assert not verdict.problems, (str(cut), proof.phase_of(cut.operation).name)
            taken += 1
    assert taken > 1000


def test_second_cuts_hit_boot_confirmation_and_the_update_tried_again() -> None:
    """Behind a first cut at each operation, every second one that there is."""
    proof = boards.proof("no Secure Boot, rollback, factory", size=12 * 1024, seed=SEED)
    taken = 0
    for cut in proof.cuts(Depth(places=1, seeds=1, quiet=0, pairs=None)):
        if cut.second is None:
            continue
        verdict = proof.judge(cut)
        if verdict is not None:
            assert not verdict.problems, str(cut)
            taken += 1
    assert taken > 700


@pytest.mark.parametrize("configuration", boards.CONFIGURATIONS[1::6])
def test_from_a_snapshot_the_flash_is_the_one_that_a_run_with_the_fault_leaves(
    configuration: str,
) -> None:
    proof = boards.proof(configuration, size=8 * 1024, seed=SEED)
    plain = boards.proof(configuration, size=8 * 1024, seed=SEED, remembers=False)
    compared = 0
    for number, cut in enumerate(proof.cuts(SAMPLED)):
        if cut.second is not None or number % 3:
            continue
        verdict, executed = proof.judge(cut), plain.judge(cut)
        assert verdict is not None
        assert executed is not None
        again = plain.replay(cut)
        content = [plain.flash_of(state) for state in (verdict.state, executed.state, again)]
        assert content[0] == content[1] == content[2], str(cut)
        assert (verdict.problems, verdict.known) == (executed.problems, executed.known)
        compared += 1
    assert compared > 60
    assert plain.bench.recorder.replayed == 0 < proof.bench.recorder.replayed
