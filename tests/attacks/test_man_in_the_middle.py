"""Somebody between the board and its genuine agent changes what passes."""

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
ALL = 1 << 20


def flips(offset: int) -> agents.Change:
    """One bit of the byte at this offset of what the agent sends."""

    def change(start: int, piece: bytes) -> bytes:
        at = offset - start
        if not 0 <= at < len(piece):
            return piece
        return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]

    return change


@pytest.mark.parametrize("offset", [5_000, 20_000, 40_000])
def test_a_bit_of_the_encrypted_firmware_is_flipped(offset: int, board: BoardProcess) -> None:
    with Agent(agents.serves(agents.sends(NEW))) as agent:
        middle = agents.relays_to(agent.port, itertools.repeat(ALL), flips(offset))
        with Agent(middle) as between:
            answer = update(board, OLD, between.address, attempts=2, good=(agent.address, NEW))
            assert between.connections == 2
    require_refused(answer, "connection-lost")
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)


def test_the_agents_own_bytes_are_recorded_and_played_again(board: BoardProcess) -> None:
    """A recorded session is of no use: the handshake is never the same twice."""
    recorded = []

    def record(start: int, piece: bytes) -> bytes:
        recorded.append(piece)
        return piece

    with Agent(agents.serves(agents.sends(NEW))) as agent:
        with Agent(agents.relays_to(agent.port, itertools.repeat(ALL), record)) as between:
            assert update(board, OLD, between.address)["boots"] == "ota_1"
        with Agent(agents.answers(b"".join(recorded))) as replaying:
            answer = update(board, OLD, replaying.address, good=(agent.address, NEW))
    require_refused(answer, "tls-failed")
    assert answer["after"] == answer["before"]
    require_updated(answer, NEW)
