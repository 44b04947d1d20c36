"""Power cut everywhere in updates that go on where the cut left them (protocol 2): as safe as those
that start over."""

import pytest

from tests.powercut import boards
from virtual_esp32.firmware_runs import ResumingFirmware
from virtual_esp32.power_cut_choice import THOROUGH, Depth
from virtual_esp32.power_cuts import Proof

SEED = 20261126
IMAGE_BYTES = 40 * 1024
STEP_BYTES = 8192
NVS = range(0x9000, 0xD000)


class Counting(ResumingFirmware):
    """Says from where each update that was executed went on."""

    def __init__(self) -> None:
        super().__init__(STEP_BYTES)
        self.offsets: list[int] = []

    def transfer(self, session, image):  # type: ignore[no-untyped-def]
        announced = session.announced

        def announce(digest: bytes, offset: int, total: int) -> None:
            self.offsets.append(offset)
            announced(digest, offset, total)

        session.announced = announce
        super().transfer(session, image)


def proof_of(
    configuration: str, firmware: ResumingFirmware, size: int = IMAGE_BYTES, remembers: bool = True
) -> Proof:
    print("seed", SEED)
    return boards.proof(configuration, firmware, size=size, seed=SEED, remembers=remembers)


@pytest.mark.parametrize("configuration", boards.CONFIGURATIONS[::3])
def test_no_cut_bricks_a_board_that_resumes(configuration: str) -> None:
    firmware = Counting()
    proof = proof_of(configuration, firmware)
    records = [
        op for op in proof.phases[0].operations if op.offset in NVS and op.note[0] == "update"
    ]
    assert len(records) > IMAGE_BYTES // STEP_BYTES
    taken = 0
    for cut in proof.cuts(THOROUGH):
        verdict = proof.judge(cut)
        if verdict is not None:
            assert not verdict.problems, (str(cut), proof.phase_of(cut.operation).name)
            taken += 1
    assert taken > 1000
    assert set(range(0, IMAGE_BYTES, STEP_BYTES)) <= set(firmware.offsets)


def test_second_cuts_hit_the_update_that_was_resumed() -> None:
    """Behind a first cut at each operation, every second one that there is."""
    firmware = Counting()
    proof = proof_of("no Secure Boot, rollback, factory", firmware, 20 * 1024)
    taken = 0
    for cut in proof.cuts(Depth(places=1, seeds=1, quiet=0, pairs=None)):
        if cut.second is None:
            continue
        verdict = proof.judge(cut)
        if verdict is not None:
            assert not verdict.problems, str(cut)
            taken += 1
    assert taken > 1000
    assert max(firmware.offsets) >= 2 * STEP_BYTES


def test_an_update_after_one_that_was_cut_takes_another_image_from_its_start() -> None:
    """The refused image is never mixed into the good one that follows its cut."""
    firmware = Counting()
    proof = proof_of("no Secure Boot, rollback, no factory", firmware, remembers=False)
    refused = next(phase for phase in proof.phases if phase.name == "refused update")
    for cut in proof.cuts(Depth(places=1, seeds=1, quiet=0, pairs=0)):
        if proof.phase_of(cut.operation) is refused:
            firmware.offsets.clear()
            verdict = proof.judge(cut)
            assert verdict is not None
            assert not verdict.problems, str(cut)
            assert set(firmware.offsets) <= {0}
