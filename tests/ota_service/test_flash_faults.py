"""Flash that does not do as it is told while an update writes it, under both runtimes."""

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
NEW = world.app("2.0.0", size=60_000)
SMALL = world.app("2.0.0", size=12_000)
BLOCK = 4096
OTADATA_ENTRY_BYTES = 32

# What was not written is found by reading back: the image, its signature, or otadata.
FOUND_LATER = (
    "digest-mismatch",
    "flash-mismatch",
    "flash-write",
    "key-untrusted",
    "set-boot",
    "signature-invalid",
)
OUTCOMES = {
    "fails": ("flash-write", "set-boot"),
    "lost-write": FOUND_LATER,
    "lost-words": FOUND_LATER,
}


@pytest.mark.parametrize("kind", OUTCOMES)
def test_flash_that_fails_at_any_operation_never_boots_what_it_did_not_take(
    kind: str, board: BoardProcess
) -> None:
    with Agent(agents.serves(agents.sends(SMALL))) as agent:
        whole = update(board, OLD, agent.address, trace=True)
        assert whole["raised"] is None
        operations = whole["operations"]
        assert len(operations) == 2 * len(SMALL) // BLOCK + 3
        for number, (what, _, size) in enumerate(operations):
            if kind != "fails" and what == "erase":
                continue
            answer = update(
                board, OLD, agent.address, attempts=2,
                fault=[number, kind], good=(agent.address, SMALL),
            )  # fmt: skip
            assert answer["struck"]
            if size == OTADATA_ENTRY_BYTES and kind == "lost-words" and answer["raised"] is None:
                assert answer["boots"] == "ota_1"
                continue  # those words had to be FF, or were the state's
            if kind == "lost-words" and answer["after"]["spare"] == whole["after"]["spare"]:
                assert answer["boots"] == "ota_1"
                continue  # those words had to be FF
            assert answer["status"]["attempt"] == 1
            require_refused(answer, *OUTCOMES[kind])
            require_updated(answer, SMALL)


def test_an_erase_that_fails_when_the_slot_is_given_up_is_said_and_boots_nothing(
    board: BoardProcess,
) -> None:
    """Four whole sectors, each an erase and a write, then the first one's erase again."""
    cut = NEW[: 4 * BLOCK + 100]
    with (
        Agent(agents.serves(agents.sends(cut))) as agent,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        answer = update(
            board, OLD, agent.address, trace=True, fault=[8, "fails"], good=(good.address, NEW)
        )
    assert answer["struck"]
    first_sector = answer["operations"][0][1]
    assert answer["operations"][8:] == [["erase", first_sector, 0]]
    require_refused(answer, "truncated")
    message = answer["status"]["error"]["message"]
    assert message.endswith("; the spare slot could not be erased")
    require_updated(answer, NEW)
