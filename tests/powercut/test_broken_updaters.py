"""The harness proves itself: updaters that break a rule are found out, and for what they do."""

import pytest

from tests.powercut import boards, broken
from virtual_esp32.firmware_runs import Firmware
from virtual_esp32.power_cut_choice import THOROUGH, Cut
from virtual_esp32.power_cuts import Proof

SEED = 7
ROLLBACK = "no Secure Boot, rollback, no factory"


def problems(proof: Proof, kinds: tuple[str, ...] = ()) -> dict[str, list[Cut]]:
    """What is found, and the cuts that found it."""
    print("seed", SEED)
    found: dict[str, list[Cut]] = {}
    for cut in proof.cuts(THOROUGH):
        if cut.second is not None or (kinds and cut.name not in kinds):
            continue
        verdict = proof.judge(cut)
        assert verdict is not None
        for problem in verdict.problems:
            found.setdefault(problem, []).append(cut)
    return found


def proof_of(firmware: Firmware, configuration: str = ROLLBACK) -> Proof:
    return boards.proof(configuration, firmware, size=12 * 1024, seed=SEED)


def phases(proof: Proof, cuts: list[Cut]) -> set[str]:
    return {proof.phase_of(cut.operation).name for cut in cuts}


def test_the_updater_as_it_is_passes_the_same_cuts() -> None:
    assert problems(proof_of(Firmware())) == {}


@pytest.mark.parametrize("configuration", [ROLLBACK, "Secure Boot, no rollback, factory"])
def test_otadata_switched_before_verification(configuration: str) -> None:
    proof = proof_of(broken.SwitchesBeforeVerification(), configuration)
    found = problems(proof)
    new = proof.phases[0].roles.new
    assert f"{new} boots, which may not boot here" in found
    assert f"{new} can boot before its image has passed" in found
    if not proof.bench.efuse.secure_boot:
        # Not even signed by anybody that counts, and it boots.
        assert "refused update" in phases(proof, found[f"{new} boots, which may not boot here"])


def test_both_otadata_sectors_erased_at_once() -> None:
    """In the second update the old firmware is not the one that a blank otadata boots."""
    proof = proof_of(broken.ErasesBothOtadataSectors())
    found = problems(proof)
    lost = [problem for problem in found if "is not rolled back: ota_0 boots" in problem]
    assert {"second update"} <= phases(proof, [cut for text in lost for cut in found[text]])
    with_factory = proof_of(broken.ErasesBothOtadataSectors(), "Secure Boot, rollback, factory")
    assert "factory boots, which may not boot here" in problems(with_factory)


def test_the_first_16_bytes_written_first() -> None:
    proof = proof_of(broken.FirstBytesFirst())
    found = problems(proof)
    cuts = found["ota_1 can boot before its image has passed"]
    assert phases(proof, cuts) >= {"update", "refused update"}


def test_the_running_slot_written() -> None:
    proof = proof_of(broken.WritesTheRunningSlot())
    found = problems(proof)
    assert any(problem.startswith("the running slot was written, at 0x") for problem in found)
    assert any("in the update tried again the running slot" in problem for problem in found)


def test_no_read_back_with_a_write_that_silently_does_not_take() -> None:
    proof = proof_of(broken.NeverReadsBack())
    found = problems(proof, ("lost-write", "lost-words"))
    damaged = found["ota_1 boots, and its bytes are not its image's"]
    assert {cut.name for cut in damaged} <= {"lost-write", "lost-words"}
    assert "update" in phases(proof, damaged)
