"""The power-cut proof: cuts judged in a second on one core, for 64 KB of firmware.

A mix of single and double cuts as the tests take it, no Secure Boot, rollback, no factory, each
cut with all that is asked after it, an update tried again included. Bars: `cuts_per_s` at least
300, aim 1,000. `slot_cuts_per_s` are the single cuts in erases and writes of the image: most of an
update, and of an exhaustive run. The mix has many torn otadata and NVS sectors besides, and faults
after which firmware runs on; each of those states is new, and firmware is executed for it.

The peer `replay_from_zero` judges a sample of the same single cuts by running the firmware from the
board's first power-on, with the fault armed, and executes every run afterwards.
"""

import time

from tests.powercut import boards
from virtual_esp32.power_cut_choice import QUIET, THOROUGH, Cut
from virtual_esp32.power_cuts import Proof

NAME = "powercut"
CONFIGURATION = "no Secure Boot, rollback, no factory"
SEED = 1
_PEER_SHARE = 25


def run() -> dict[str, object]:
    """Measure once."""
    began = time.process_time()
    proof = boards.proof(CONFIGURATION, seed=SEED)
    cuts = list(proof.cuts(THOROUGH))
    taken = sum(proof.judge(cut) is not None for cut in cuts)
    seconds = time.process_time() - began
    single = [cut for cut in cuts if cut.second is None]
    figures = {
        "cuts_per_s": round(taken / seconds, 1),
        "slot_cuts_per_s": round(_in_slots(single), 1),
        "cuts": taken,
        "operations": proof.operations,
        "firmware_bytes": len(boards.firmware("2.0.0")),
    }
    peer = {"cuts_per_s": round(_from_zero(single[::_PEER_SHARE]), 1)}
    return {"name": NAME, "figures": figures, "peers": {"replay_from_zero": peer}}


def _in_slots(cuts: list[Cut]) -> float:
    """Cuts a second where most operations of an update are: in the image's erases and writes."""
    began = time.process_time()
    proof = boards.proof(CONFIGURATION, seed=SEED)
    areas = [range(app.offset, app.end) for app in proof.bench.apps]
    chosen = []
    for cut in cuts:
        phase = proof.phase_of(cut.operation)
        offset = phase.operations[cut.operation - phase.first].offset
        if cut.name not in QUIET and any(offset in area for area in areas):
            chosen.append(cut)
    for cut in chosen:
        proof.judge(cut)
    return len(chosen) / (time.process_time() - began)


def _from_zero(cuts: list[Cut]) -> float:
    """Cuts a second without snapshots and without recorded runs."""
    plain = boards.proof(CONFIGURATION, seed=SEED, remembers=False)
    began = time.process_time()
    for cut in cuts:
        _live_up_to(plain, cut)
        plain.replay(cut)
        plain.judge(cut)
    return len(cuts) / (time.process_time() - began)


def _live_up_to(proof: Proof, cut: Cut) -> None:
    """Every power-on before that of the cut."""
    chain = [proof.phase_of(cut.operation)]
    while chain[-1].start is not proof.bench.start:
        chain.append(next(phase for phase in proof.phases if phase.end is chain[-1].start))
    for phase in chain[:0:-1]:
        proof.bench.run(phase.plan, phase.start)
