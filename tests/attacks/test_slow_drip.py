"""An agent that never breaks off and never gets done: the board must not be busy for ever."""

import pytest

from tests import world
from tests.ota_service import faulty_agents as agents
from tests.ota_service.board_process import (
    BoardProcess,
    require_refused,
    require_updated,
    update,
)
from tests.ota_service.faulty_agents import Agent

OLD = world.app("1.0.0")
NEW = world.app("2.0.0")
DEADLINE_S = 1
PAUSE_S = 0.02

# What drips, and the least number of connections until the deadline.
DRIPS = {
    "the firmware": (agents.serves(agents.drips(NEW, PAUSE_S)), {"attempts": 1}, 1),
    "the firmware's last bytes": (
        agents.serves(agents.drips(NEW[-2000:], PAUSE_S, before=NEW[:-2000])), {}, 1,
    ),
    "the TLS handshake": (agents.drips_handshake(PAUSE_S), {"connect_s": 0.3}, 2),
    "warnings of TLS, as fast as they come": (
        agents.warns_without_end, {"connect_s": 0.3}, 2,
    ),
    "attempt after attempt": (agents.closes_after_hello, {}, 5),
    "the pause between attempts": (agents.closes_after_hello, {"retry_delay_s": 86_400}, 1),
}  # fmt: skip


@pytest.mark.parametrize("what", DRIPS)
def test_of(what: str, board: BoardProcess) -> None:
    """The deadline for the whole update ends it, however many attempts are left."""
    behaviour, options, connections = DRIPS[what]
    with (
        Agent(behaviour) as dripping,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        answer = update(
            board, OLD, dripping.address, deadline_s=DEADLINE_S,
            good=(good.address, NEW), **{"attempts": 10_000, **options},
        )  # fmt: skip
        assert dripping.connections >= connections
    require_refused(answer, "deadline")
    assert answer["status"]["error"]["message"] == f"not done within {DEADLINE_S} s"
    assert answer["ticks"] > 10
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)
