"""Somebody would rather talk protocol 1 with a board that speaks protocol 2: there it proves
nothing that anyone cannot copy."""

import hashlib
import itertools

import pytest

from dice import evidence
from tests import world
from tests.ota_service import faulty_agents as agents
from tests.ota_service.attested_agents import Attesting, attest, attesting, ranged
from tests.ota_service.board_process import BoardProcess, require_refused, require_updated

OLD = world.app("1.0.0")
NEW = world.app("2.0.0")
ALL = 1 << 20


@pytest.mark.parametrize("how", ["sends firmware at once", "closes", "closes the TLS connection"])
def test_an_agent_speaks_protocol_1_only(how: str, board: BoardProcess) -> None:
    """The board tries as often as it may, over protocol 2 each time; its first byte says which."""
    heard: list[bytes] = []

    def session(secured: agents.Connection) -> None:
        if how == "sends firmware at once":
            agents.sends(NEW)(secured)  # type: ignore[arg-type]
        elif how == "closes":
            agents.ends(secured)
        else:
            agents.closes_notified(secured)  # type: ignore[arg-type]

    def behaviour(connection: agents.Connection) -> None:
        secured = agents.good_context().wrap_socket(connection, server_side=True)
        with secured:
            heard.append(secured.recv(4096))
            session(secured)

    with agents.Agent(behaviour) as evil, attesting(ranged(NEW)) as (_, good):
        answer = attest(board, OLD, evil.address, attempts=3, good=(good.address, NEW))
    at_once = how == "sends firmware at once"
    require_refused(answer, "bad-answer" if at_once else "connection-lost")
    assert len(heard) == (1 if at_once else 3)
    assert all(first.startswith(b"GET /v2/challenge HTTP/1.1\r\n") for first in heard)
    assert answer["after"] == answer["before"]
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)


def test_somebody_in_the_middle_breaks_every_connection(board: BoardProcess) -> None:
    """However often it fails, what the board says in the end is protocol 2 still."""
    script = Attesting(ranged(NEW))
    breaks = [agents.closes_at_once, agents.closes_after_hello, agents.resets_after_hello]
    with agents.Agent(script) as agent:
        relay = agents.relays_to(agent.port, itertools.repeat(ALL))
        with agents.Agent(*breaks, relay) as between:
            answer = attest(board, OLD, between.address, attempts=4)
            assert between.connections == 4
    assert answer["raised"] is None
    assert answer["boots"] == "ota_1"
    assert {request[0].split("/")[1] for request in script.requests} == {"v2"}


def test_evidence_names_the_certificate_of_whoever_asked_for_it(board: BoardProcess) -> None:
    """A relay with a certificate of its own, even a genuine one, gets evidence for itself alone:
    the agent it is passed on to has another certificate, and the proof does not fit that."""
    own = agents.certificate(agents.authority(), "rsa")
    tls = agents.context(own, "rsa")
    with attesting(ranged(NEW), tls=tls) as (script, relay):
        attest(board, OLD, relay.address)
    claims = evidence.decode(script.evidence[0]).claims
    assert claims.channel == hashlib.sha256(own).digest()
    assert claims.channel != hashlib.sha256(agents.certificate(agents.authority())).digest()
