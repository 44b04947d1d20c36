"""A fleet updates while processes of the site are killed: what becomes of each board.

Used by test_outages.py with a small fleet, and by `python -m benchmarks outages` with 2,000.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet.boards import FleetBoard, enrol, make_fleet, update_all
from tests.fleet.site import Site

# What a board of ours may say whose update did not happen because something was gone: protocol 1
# sees a connection that closes without a byte, whatever the reason.
_GONE = {"attestation-refused", "agent-busy", "connection-lost", "connect-failed"}
# What one says that must get nothing, unless something was gone.
_REFUSED = {"attestation-refused", "board-not-allowed"}
# After which parts of the fleet something is killed.
_MOMENTS = 6


@dataclass
class Report:
    """first, second: the results of the first try of all and of the second of those that were not
    updated. killed: what was killed."""

    first: Counter[str] = field(default_factory=Counter)
    second: Counter[str] = field(default_factory=Counter)
    killed: list[str] = field(default_factory=list)


async def updates_during_outages(
    site: Site, fleet: list[FleetBoard], attempts: int, report: Report
) -> None:
    """Try, and try again."""
    agent = f"127.0.0.1:{site.agent_port}"
    reached: asyncio.Queue[int] = asyncio.Queue()
    killing = asyncio.create_task(_keep_killing(site, len(fleet), reached, report))
    report.first = await update_all(fleet, agent, attempts, reached.put_nowait)
    reached.put_nowait(0)
    await killing
    left = [board for board in fleet if board.results != ["updated"]]
    await asyncio.to_thread(site.recover)
    report.second = await update_all(left, agent, attempts, lambda through: None)


async def _keep_killing(
    site: Site, boards: int, reached: "asyncio.Queue[int]", report: Report
) -> None:
    """Several times, one of the agent's workers and one of the attestation servers. The server is
    started again, as an init system does it, the worker by the agent itself.

    reached: how many boards are through; 0: all.
    """
    moments = [boards * (number + 1) // (_MOMENTS + 2) for number in range(_MOMENTS)]
    for number, moment in enumerate(moments):
        while (through := await reached.get()) < moment:
            if through == 0:
                return
        workers = site.workers()
        os.kill(workers[number % len(workers)], signal.SIGKILL)
        server = site.attestation[number % len(site.attestation)]
        server.kill()
        report.killed += ["a worker", "an attestation server"]
        await asyncio.to_thread(server.start)


def run(site: Site, folder: Path, count: int, attempts: int) -> tuple[list[FleetBoard], Report]:
    fleet = make_fleet(count)
    enrol(fleet, site.registry, folder)
    report = Report()
    asyncio.run(updates_during_outages(site, fleet, attempts, report))
    return fleet, report


def verify(fleet: list[FleetBoard], complain: Callable[[str], None]) -> None:
    """Calls complain for every board whose story is not as it should be."""
    for board in fleet:
        first, *rest = board.results
        if board.is_ours:
            is_good = first == "updated" or (first in _GONE and rest == ["updated"])
        else:
            is_good = first in _GONE | _REFUSED and len(rest) == 1 and rest[0] in _REFUSED
        if not is_good:
            complain(f"{board.name} ({board.standing}, protocol {board.protocol}): {board.results}")
