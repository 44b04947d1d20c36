"""2,000 virtual boards update from an agent with three workers, which asks two attestation servers
on one Redis behind nginx, while one worker and one server are killed with -9, six times.

Half of the boards speak protocol 1, half protocol 2; one in forty was never enrolled, one in forty
is revoked. Each tries once, with one attempt; those that were not updated try once more, when
the agent's workers have word from the attestation servers again.

`updated_first`, `updated_second`: boards of ours updated at the first and at the second try; they
are all of `ours`. `refused`: boards that must get nothing, and got nothing at either try.
`wrong`: boards with any other story. Bar: 0. `boards_per_s`: for orientation; the boards, which
are Python too, take most of the time.
"""

import tempfile
import time
from pathlib import Path

from tests import world
from tests.fleet import outage
from tests.fleet.site import site

NAME = "outages"
_BOARDS = 2_000


def run() -> dict[str, object]:
    """Measure once."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with site(folder, world.app("2.0.0"), attestation=2, workers=3) as here:
            started = time.perf_counter()
            fleet, report = outage.run(here, folder, _BOARDS, attempts=1)
            seconds = time.perf_counter() - started
    outage.verify(fleet, wrong.append)
    for line in wrong:
        print(line)
    ours = [board for board in fleet if board.is_ours]
    figures = {
        "ours": len(ours),
        "updated_first": sum(board.results == ["updated"] for board in ours),
        "updated_second": sum(board.results[1:] == ["updated"] for board in ours),
        "refused": sum("updated" not in board.results for board in fleet if not board.is_ours),
        "wrong": len(wrong),
        "killed": len(report.killed),
        "boards_per_s": round(len(fleet) / seconds, 1),
    }
    return {"name": NAME, "figures": figures, "peers": {}}
