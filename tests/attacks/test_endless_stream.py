"""An agent that never stops sending: neither the board's memory nor other flash fills up."""

import itertools

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
HUGE = world.app("2.0.0", size=250_000)
PIECE = b"\xff" * 16384

STREAMS = {
    "behind good firmware": ([NEW], "trailing-data"),
    "behind refused firmware": ([world.app("6.6.6", "stranger")], "trailing-data"),
    "of firmware longer than the slot": ([HUGE], "too-large"),
    "of nothing but FF": ([], "magic"),
}


@pytest.mark.parametrize("what", STREAMS)
def test_a_stream(what: str, board: BoardProcess) -> None:
    beginning, code = STREAMS[what]
    endless = agents.pours(itertools.chain(beginning, itertools.repeat(PIECE)))
    with (
        Agent(agents.serves(endless)) as pouring,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        answer = update(board, OLD, pouring.address, attempts=20, good=(good.address, NEW))
        assert pouring.connections == 1
    require_refused(answer, code)
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)
