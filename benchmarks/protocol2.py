"""Protocol 2 beside protocol 1: the same agent, image (1 MiB) and client program, 200 boards at a
time, attestation answered at once by a local stub. Agent and clients have a core each.

`throughput_ratio`: updates a second by protocol 2 over those by protocol 1, median of pairs run in
turn, each first as often as second. Bar: 0.9. `cpu_ratio`: server CPU per update, the same way.
"""

import tempfile
from pathlib import Path
from statistics import median

from benchmarks import _agent_servers as servers
from benchmarks.agent import Bench

NAME = "protocol2"
_PAIRS = 10
_UPDATES = 800
# As large as a board's: a certificate of 700 bytes, claims, a signature.
_EVIDENCE = b"\xd2" + bytes(1000)
# All boards are behind one address here, which is allowed 100 a second by default.
_ONE_ADDRESS = ("--challenge-rate", "1000000")

Figures = dict[str, float]


def run() -> dict[str, object]:
    """Measure once."""
    ours: Figures = {}
    protocol1: Figures = {}
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        image = bench.image(1024 * 1024)
        with servers.attestation_stub() as url, bench.agent(image, url, *_ONE_ADDRESS) as first:
            second = servers.Running(first.process, first.port, _EVIDENCE)
            works = {"updates": first, "updates2": second}
            for work, server in works.items():
                bench.updates(server, 200, 200, image, work=work)
            for number in range(_PAIRS):
                order = list(works) if number % 2 else list(works)[::-1]
                results = {
                    work: bench.updates(works[work], _UPDATES, 200, image, work=work)
                    for work in order
                }
                pairs.append((results["updates2"], results["updates"]))
    ours["throughput_ratio"] = median(two["per_s"] / one["per_s"] for two, one in pairs)
    ours["cpu_ratio"] = median(two["cpu_ms"] / one["cpu_ms"] for two, one in pairs)
    for figures, at in ((ours, 0), (protocol1, 1)):
        figures["updates_per_s"] = median(pair[at]["per_s"] for pair in pairs)
        figures["cpu_ms"] = median(pair[at]["cpu_ms"] for pair in pairs)
    return {"name": NAME, "figures": ours, "peers": {"protocol 1": protocol1}}
