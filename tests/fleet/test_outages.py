"""Three agent workers and two attestation servers on one Redis, killed while boards update.

The same with 2,000 boards: `python -m benchmarks outages`.
"""

from pathlib import Path

from tests import world
from tests.fleet import outage
from tests.fleet.site import site

BOARDS = 160


def test_every_board_is_updated_or_refused_and_then_updated_whoever_is_killed(
    tmp_path: Path,
) -> None:
    """What boots after each try, and that strangers and revoked boards got not one byte, the
    boards themselves look at (tests/fleet/boards.py)."""
    complaints: list[str] = []
    with site(tmp_path, world.app("2.0.0"), attestation=2, workers=3) as here:
        fleet, report = outage.run(here, tmp_path, BOARDS, attempts=1)
    outage.verify(fleet, complaints.append)
    assert complaints == []
    assert {"a worker", "an attestation server"} == set(report.killed)
    assert {board.standing for board in fleet} == {"ours", "stranger", "revoked"}
