"""Genuine firmware of the owner's, older than what runs, offered again for its known holes."""

from tests import world
from tests.ota_service import faulty_agents as agents
from tests.ota_service.board_process import BoardProcess, require_updated, update
from tests.ota_service.faulty_agents import Agent

OLD = world.app("1.0.0", secure_version=1)
FIXED = world.app("2.0.0", secure_version=2)


def test_below_the_floor_it_is_not_installed_once_newer_firmware_has_confirmed_itself(
    board: BoardProcess,
) -> None:
    with (
        Agent(agents.serves(agents.sends(b""))) as refusing,
        Agent(agents.serves(agents.sends(FIXED))) as good,
        Agent(agents.serves(agents.sends(OLD))) as replaying,
    ):
        answer = update(board, OLD, refusing.address, good=(good.address, FIXED))
        require_updated(answer, FIXED)
        answer = update(board, OLD, replaying.address, keep=True, policy="any", attempts=20)
        assert replaying.connections == 1
    assert answer["status"]["running"] == "ota_1"
    assert answer["raised"] == answer["status"]["error"]["code"] == "secure-version"
    # Refused by its header: what stands in the other slot was not even erased.
    assert answer["after"] == answer["before"]
    assert answer["boots"] == "ota_1"


def test_within_the_floor_the_policy_decides(board: BoardProcess) -> None:
    older = world.app("0.9.0", secure_version=1)
    with Agent(agents.serves(agents.sends(older))) as replaying:
        answer = update(board, OLD, replaying.address, policy="newer", attempts=20)
        assert replaying.connections == 1
        assert answer["raised"] == "not-newer"
        assert answer["after"] == answer["before"]
        assert answer["boots"] == "ota_0"
        answer = update(board, OLD, replaying.address, policy="different")
    assert answer["raised"] is None
    assert answer["boots"] == "ota_1"
