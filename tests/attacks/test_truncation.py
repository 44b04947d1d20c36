"""Somebody in the network ends the connection early with a forged FIN: TLS tells by its
close_notify, which MicroPython cannot see. The image's own length decides."""

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
BLOCK = 4096


@pytest.mark.parametrize("cut", [*range(BLOCK, len(NEW), BLOCK), 1, 16, 24, 288, len(NEW) - 1])
def test_after_so_many_bytes(cut: int, board: BoardProcess) -> None:
    """What has come is in the flash but for its first 16 bytes, and nothing boots it."""
    with Agent(
        agents.serves(agents.cut_after(NEW[:cut])), agents.serves(agents.sends(NEW))
    ) as cut_off:
        answer = update(board, OLD, cut_off.address, good=(cut_off.address, NEW))
        assert cut_off.connections == 2
    require_refused(answer, "truncated")
    assert answer["received"][-1] == cut
    assert f"after {cut} of " in answer["status"]["error"]["message"]
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)


def test_before_the_first_byte_looks_like_a_refusal_and_changes_nothing(
    board: BoardProcess,
) -> None:
    with Agent(agents.serves(agents.cut_after(b""))) as cut_off:
        answer = update(board, OLD, cut_off.address, attempts=3)
        assert cut_off.connections == 1
    require_refused(answer, "attestation-refused")
    assert answer["after"] == answer["before"]


def test_after_the_last_byte_takes_nothing_away(board: BoardProcess) -> None:
    with Agent(agents.serves(agents.cut_after(NEW))) as cut_off:
        answer = update(board, OLD, cut_off.address)
    assert answer["raised"] is None
    assert answer["boots"] == "ota_1"
