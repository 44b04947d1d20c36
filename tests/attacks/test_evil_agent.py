"""Somebody makes a board ask him for its firmware: with a certificate that is genuine but not that
of the board's agent, or as the board's agent itself, taken over."""

import ssl

import pytest

from tests import world
from tests.esp_image import signing
from tests.ota_service import faulty_agents as agents
from tests.ota_service.board_process import (
    BoardProcess,
    require_refused,
    require_updated,
    update,
)
from tests.ota_service.faulty_agents import DAY, NOW, Agent, authority

OLD = world.app("1.0.0")
NEW = world.app("2.0.0")
EVIL = world.app("6.6.6", "stranger")
UNSIGNED = world.app("6.6.6", None)

GENUINE = {
    "of another CA": ({"by": ("other CA", "other")}, "agent-unknown-issuer"),
    "of a CA that took our CA's name": ({"by": ("test CA", "impostor")}, "agent-unknown-issuer"),
    "of our CA for another host": ({"name": "printer.example.org"}, "agent-wrong-name"),
    "of an agent that was retired": ({"not_after": NOW - DAY / 2}, "agent-expired"),
}


@pytest.mark.parametrize("what", GENUINE)
def test_with_a_genuine_certificate(what: str, board: BoardProcess) -> None:
    """He learns nothing, not even which board it is; no second try, no flash touched."""
    options, code = GENUINE[what]
    name, which = options.get("by", ("test CA", "CA"))
    shown = {**options, "by": authority(name=name, which=which)}
    heard = []

    def session(secured: ssl.SSLSocket) -> None:
        heard.append(secured)
        agents.sends(EVIL)(secured)

    tls = agents.context(agents.certificate(**shown))
    with (
        Agent(agents.serves(session, tls)) as evil,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        answer = update(board, OLD, evil.address, attempts=20, good=(good.address, NEW))
        assert evil.connections == 1
    require_refused(answer, code)
    assert answer["after"] == answer["before"]
    assert heard == []
    require_updated(answer, NEW)


FROM_THE_AGENT_ITSELF = {
    "signed by himself": (EVIL, "key-untrusted"),
    "not signed": (signing.pad(UNSIGNED) + b"\xff" * 4096, "unsigned"),
    "with a signature taken from other firmware": (
        signing.pad(UNSIGNED) + NEW[-4096:],
        "digest-mismatch",
    ),
    "that plants a key behind the owner's": (
        signing.sign(UNSIGNED, world.key("owner"), world.key("stranger")),
        "extra-block",
    ),
}


@pytest.mark.parametrize("what", FROM_THE_AGENT_ITSELF)
def test_as_the_agent_itself_with_firmware(what: str, board: BoardProcess) -> None:
    """The whole image reaches the flash, and nothing boots it."""
    image, code = FROM_THE_AGENT_ITSELF[what]
    with (
        Agent(agents.serves(agents.sends(image))) as evil,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        answer = update(board, OLD, evil.address, attempts=20, good=(good.address, NEW))
        assert evil.connections == 1
    require_refused(answer, code)
    assert answer["received"][-1] >= len(UNSIGNED)
    assert answer["after"]["spare"] != answer["before"]["spare"]
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)
