"""The power-cut proof: cuts judged in a second on one core, for 64 KB of firmware.

A mix of single and double cuts as the tests take it, no Secure Boot, rollback, no factory, each
cut with all that is asked after it, an update tried again included. Bars: `cuts_per_s` at least
300, aim 1,000. The peer `replay_from_zero` judges a sample of the same cuts by running the
firmware from the board's first power-on, with the fault armed, and executes every run afterwards.
"""

import time

from tests.powercut import boards
from virtual_esp32.power_cut_choice import THOROUGH, Cut
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
        "cuts": taken,
        "operations": proof.operations,
        "firmware_bytes": len(boards.firmware("2.0.0")),
    }
    peer = {"cuts_per_s": round(_from_zero(single[::_PEER_SHARE]), 1)}
    return {"name": NAME, "figures": figures, "peers": {"replay_from_zero": peer}}


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
