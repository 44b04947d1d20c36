"""Protocol 2 over TLS, under both runtimes: what a board proves, and what it makes of answers."""

import hashlib
import itertools
import time
from typing import Any

import pytest

import dice
from dice import certificate, evidence
from tests import world
from tests.ota_service import attested_agents as attested
from tests.ota_service import faulty_agents as agents
from tests.ota_service.attested_agents import (
    CUT,
    NONCE,
    RESET,
    UDS,
    Reply,
    attest,
    attesting,
    digests,
    problem,
    ranged,
    response,
    token,
    whole,
)
from tests.ota_service.board_process import (
    BoardProcess,
    require_as_it_was,
    require_one_line,
    require_refused,
    require_updated,
)

OLD = world.app("1.0.0")
NEW = world.app("2.0.0", size=60_000)
OTHER = world.app("3.0.0", size=60_000)
LARGE = world.app("2.0.0", size=115_000)  # over a record of progress, which comes at 64 KiB
RECORD = 65536
BUSY_S = 2


def test_a_provisioned_board_proves_itself_and_updates(board: BoardProcess) -> None:
    reply = token(verdict="affirming")
    with attesting(ranged(NEW), attest=lambda request: reply) as (script, agent):
        answer = attest(board, OLD, agent.address)
    assert answer["raised"] is None, answer["status"]["error"]
    assert answer["boots"] == "ota_1"
    assert answer["received"][-1] == len(NEW)
    status = answer["status"]
    assert (status["identity"], status["protocol"]) == ("provisioned", 2)
    assert (status["verdict"], status["error"]) == ("affirming", None)
    assert [request[0] for request in script.requests] == [
        "GET /v2/challenge HTTP/1.1",
        "POST /v2/attest HTTP/1.1",
        "GET /v2/firmware HTTP/1.1",
    ]
    port = agent.address.split(":")[1]
    assert {request[1]["host"] for request in script.requests} == {f"ota-agent:{port}"}
    assert script.requests[1][1]["content-type"] == "application/eat+cwt"
    assert script.requests[2][1]["authorization"] == f"Bearer {attested.TOKEN}"


def test_evidence_is_for_this_challenge_this_agent_and_what_really_runs(
    board: BoardProcess,
) -> None:
    with attesting(ranged(NEW)) as (script, agent):
        attest(board, OLD, agent.address)
    proof = evidence.decode(script.evidence[0])
    shown = certificate.parse(proof.certificate)
    root = certificate.parse(dice.root_certificate(UDS))
    assert certificate.verify_chain(shown, root, (2024, 1, 1, 0, 0, 0)) == []
    assert proof.is_signed_by(shown.public_key)
    claims = proof.claims
    assert claims.nonce == NONCE
    assert claims.channel == hashlib.sha256(agents.certificate(agents.authority())).digest()
    assert claims.image_digest == hashlib.sha256(OLD).digest()
    assert claims.ueid == evidence.ueid_of(root.public_key)
    assert (claims.hwmodel, claims.application, claims.version) == ("esp32c6", "thermo", "1.0.0")
    assert shown.dice is not None
    assert shown.dice.code_hash == 2 * hashlib.sha256(OLD[:-4096]).digest()
    assert shown.dice.configuration_value == bytes(64)  # no bootloader in this flash


def later(status: str, **headers: str) -> Reply:
    return lambda request: problem(status, "Not now", "ask again", **headers)


def says(*pieces: bytes) -> Reply:
    return lambda request: list(pieces)


# What an agent answers, at which of the three requests, and the code that has.
REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "evidence is refused": ({"attest": later("401 Unauthorized")}, "attestation-refused", "401"),
    "the board is revoked": ({"attest": later("403 Forbidden")}, "board-not-allowed", "403"),
    "no protocol 2 there": ({"challenge": later("404 Not Found")}, "agent-refused", "404"),
    "no firmware for this board": ({"firmware": later("404 Not Found")}, "no-firmware", "404"),
    "the token is not taken": ({"firmware": later("401 Unauthorized")}, "token-refused", "401"),
    "the agent is busy": ({"challenge": later("429 Too Many Requests")}, "agent-busy", "429"),
    "nobody can attest": ({"attest": later("503 Service Unavailable")}, "agent-busy", "503"),
    "the agent breaks": ({"firmware": later("500 Internal Server Error")}, "agent-error", "500"),
    "it is elsewhere": (
        {"firmware": later("307 Temporary Redirect", Location="https://example.org/")},
        "agent-refused",
        "307",
    ),
    "a range nobody asked for": (
        {"firmware": later("416 Range Not Satisfiable")},
        "agent-refused",
        "416",
    ),
    "a short nonce": (
        {"challenge": lambda request: response("200 OK", NONCE[:31])},
        "bad-answer",
        "31 bytes",
    ),
    "a nonce too large to hold": (
        {"challenge": says(*response("200 OK", b"", length=5000))},
        "bad-answer",
        "5000 bytes",
    ),
    "no token": ({"attest": lambda request: response("200 OK", b"{}")}, "bad-answer", "no token"),
    "a token that breaks a header": (
        {"attest": lambda request: token("a\r\nHost: b")},
        "bad-answer",
        "no token",
    ),
    "a token too large to hold": (
        {"attest": lambda request: token("a" * 257)},
        "bad-answer",
        "no token",
    ),
    "an end before the challenge": ({"challenge": says(CUT)}, "connection-lost", "closed"),
    "a reset instead of the challenge": ({"challenge": says(RESET)}, "connection-lost", ""),
    "an end in the challenge": (
        {"challenge": says(response("200 OK", NONCE)[0][:-1], CUT)},
        "connection-lost",
        "closed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_an_agent_that_refuses_is_understood(what: str, board: BoardProcess) -> None:
    answers, code, text = REFUSALS[what]
    script: dict[str, Any] = {"firmware": ranged(NEW), **answers}
    with attesting(**script) as (_, agent), attesting(ranged(NEW)) as (_, good):
        answer = attest(board, OLD, agent.address, attempts=2, good=(good.address, NEW))
        tries = agent.connections
    require_refused(answer, code)
    assert tries == (2 if answer["may_retry"] else 1)
    assert text in answer["status"]["error"]["message"]
    assert answer["after"] == answer["before"]
    require_updated(answer, NEW)


def test_what_the_agent_says_of_an_error_is_in_the_message(board: BoardProcess) -> None:
    said = problem("401 Unauthorized", "Evidence refused", "nonce: used before")
    with attesting(ranged(NEW), attest=lambda request: said) as (_, agent):
        answer = attest(board, OLD, agent.address)
    message = answer["status"]["error"]["message"]
    assert message == "POST /v2/attest: 401: Evidence refused: nonce: used before"


def test_nothing_newer_is_no_failure(board: BoardProcess) -> None:
    with attesting(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as (_, agent):
        answer = attest(board, OLD, agent.address, attempts=3)
        assert agent.connections == 1
    assert (answer["raised"], answer["may_retry"]) == ("up-to-date", False)
    assert answer["status"]["state"] == "idle"
    assert answer["status"]["error"]["code"] == "up-to-date"
    assert answer["events"][-1][0] == "idle"
    require_as_it_was(answer)
    assert answer["after"] == answer["before"]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_agent_is_left_alone_for_as_long_as_it_asks(
    status: str, board: BoardProcess
) -> None:
    came = []

    def challenge(request: attested.Request) -> list[bytes]:
        came.append(time.monotonic())
        busy = len(came) == 1
        return problem(status, Retry_After=str(BUSY_S)) if busy else response("200 OK", NONCE)

    with attesting(ranged(NEW), challenge=challenge) as (_, agent):
        answer = attest(board, OLD, agent.address, attempts=2)
    assert answer["raised"] is None
    assert came[1] - came[0] > BUSY_S - 0.1


def test_a_wait_beyond_the_deadline_ends_the_update_at_once(board: BoardProcess) -> None:
    busy = later("503 Service Unavailable", Retry_After="3600")
    with attesting(ranged(NEW), challenge=busy) as (_, agent):
        began = time.monotonic()
        answer = attest(board, OLD, agent.address, attempts=20, deadline_s=60)
        assert time.monotonic() - began < 30
        assert agent.connections == 1
    require_refused(answer, "agent-busy")


# -- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [CUT, RESET], ids=["cut", "reset"])
def test_a_lost_transfer_goes_on_where_it_was_lost(end: bytes, board: BoardProcess) -> None:
    """At the borders of header, sector and image, and between."""
    cuts = [1, 15, 16, 24, 288, 4095, 4096, 4097, 30_000, len(NEW) - 4097, len(NEW) - 1]
    for cut in cuts:
        replies = [ranged(NEW, cut, end), ranged(NEW)]
        with attesting(replies) as (script, agent):
            answer = attest(board, OLD, agent.address, attempts=2)
        assert answer["raised"] is None, (cut, answer["status"]["error"])
        assert answer["boots"] == "ota_1"
        first, again = script.ranges
        # A reset may take bytes with it that had come.
        start = int((again or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        assert (first, start <= cut) == (None, True)
        assert end == RESET or start == cut


def test_a_connection_lost_again_and_again_still_makes_one_whole_image(
    board: BoardProcess,
) -> None:
    cuts = [7_001, 1, 4096, 20_000, 5, 8192, 3]
    replies = [ranged(NEW, cut) for cut in cuts]
    with attesting([*replies, ranged(NEW)]) as (script, agent):
        answer = attest(board, OLD, agent.address, attempts=len(cuts) + 1)
    assert answer["raised"] is None
    starts = [f"bytes={start}-" for start in itertools.accumulate(cuts)]
    assert script.ranges == [None, *starts]
    assert answer["boots"] == "ota_1"


def test_after_a_power_cut_it_goes_on_from_what_is_safely_in_flash(board: BoardProcess) -> None:
    """Operations of the update: an erase and a write for each sector; after 64 KiB the record."""
    sectors = RECORD // 4096
    for cut, resumed in ((5, False), (2 * sectors - 1, False), (2 * sectors + 12, True),
                         (2 * sectors + 21, True)):  # fmt: skip
        with attesting([ranged(LARGE), ranged(LARGE)]) as (script, agent):
            before = attest(board, OLD, agent.address, cut=cut)
            assert before["cut"]["boots"] == "ota_0"
            assert before["cut"]["found"]["first"] == "ff" * 16
            answer = attest(board, OLD, agent.address, keep=True)
        assert answer["raised"] is None, answer["status"]["error"]
        assert answer["boots"] == "ota_1"
        assert script.ranges == [None, f"bytes={RECORD}-" if resumed else None], cut
        assert answer["after"]["spare"] == before["after"]["spare"]


def test_a_transfer_that_failed_for_good_is_resumed_by_the_next_update(
    board: BoardProcess,
) -> None:
    with attesting([ranged(LARGE, 100_000), ranged(LARGE)]) as (script, agent):
        failed = attest(board, OLD, agent.address)
        require_refused(failed, "connection-lost")
        answer = attest(board, OLD, agent.address, keep=True)
    assert answer["raised"] is None
    assert script.ranges == [None, f"bytes={RECORD}-"]
    assert answer["boots"] == "ota_1"


def test_another_image_by_then_is_taken_from_its_start(board: BoardProcess) -> None:
    """At once, and after a restart: the agent answers 200, since the ETag is another one."""
    for keep in (False, True):
        replies = [ranged(LARGE, 90_000), ranged(OTHER)]
        with attesting(replies) as (script, agent):
            answer = attest(board, OLD, agent.address, attempts=1 if keep else 2)
            if keep:
                require_refused(answer, "connection-lost")
                answer = attest(board, OLD, agent.address, keep=True)
        assert answer["raised"] is None, answer["status"]["error"]
        assert script.ranges == [None, f"bytes={RECORD if keep else 90_000}-"]
        assert answer["received"][-1] == len(OTHER)
        assert answer["boots"] == "ota_1"


@pytest.mark.parametrize("odd", ["another image", "another range"])
def test_an_agent_that_answers_a_range_with_another_is_asked_for_the_whole_the_next_time(
    odd: str, board: BoardProcess
) -> None:
    """Else every later update would ask it for the same, and get the same."""
    end = len(LARGE) - 1
    lie = (
        ranged_lie(world.app("3.0.0", size=115_000), f"bytes {RECORD}-{end}/{end + 1}")
        if odd == "another image"
        else ranged_lie(LARGE, f"bytes {RECORD + 1}-{end}/{end + 1}")
    )
    with attesting([ranged(LARGE, 100_000), lie, ranged(LARGE)]) as (script, agent):
        require_refused(attest(board, OLD, agent.address), "connection-lost")
        answer = attest(board, OLD, agent.address, keep=True)
        require_refused(answer, "bad-answer")
        assert answer["boots"] == "ota_0"
        answer = attest(board, OLD, agent.address, keep=True)
    assert answer["raised"] is None
    assert script.ranges == [None, f"bytes={RECORD}-", None]
    assert answer["boots"] == "ota_1"


def ranged_lie(image: bytes, content_range: str) -> Reply:
    """206 with what follows the record, whatever was asked for."""
    body = image[RECORD:]
    return lambda request: response(
        "206 Partial Content", body, Content_Range=content_range, **digests(image)
    )


def test_an_agent_that_cannot_resume_sends_it_all_again(board: BoardProcess) -> None:
    with attesting([ranged(NEW, 30_000), whole(NEW)]) as (script, agent):
        answer = attest(board, OLD, agent.address, attempts=2)
    assert answer["raised"] is None
    assert script.ranges == [None, "bytes=30000-"]
    assert answer["boots"] == "ota_1"


def test_a_range_that_is_not_there_is_asked_for_without(board: BoardProcess) -> None:
    replies = [ranged(NEW, 30_000), later("416 Range Not Satisfiable"), ranged(NEW)]
    with attesting(replies) as (script, agent):
        answer = attest(board, OLD, agent.address, attempts=2)
        assert agent.connections == 2
    assert answer["raised"] is None
    assert script.ranges == [None, "bytes=30000-", None]
    assert answer["boots"] == "ota_1"


# -- identity and protocol ------------------------------------------------------------------------


def test_a_board_that_was_never_provisioned_says_so_and_asks_nobody(board: BoardProcess) -> None:
    with attesting(ranged(NEW)) as (_, agent):
        answer = attest(board, OLD, agent.address, uds=None)
        assert agent.connections == 0
    require_refused(answer, "not-provisioned")
    assert answer["after"] == answer["before"]


def test_a_mac_board_speaks_protocol_2_when_told_so(board: BoardProcess) -> None:
    with attesting(ranged(NEW)) as (script, agent):
        answer = attest(board, OLD, agent.address, uds=None, identity="mac", protocol=2)
    assert answer["raised"] is None
    assert (answer["status"]["identity"], answer["status"]["protocol"]) == ("mac", 2)
    proof = evidence.decode(script.evidence[0])
    uds = dice.uds_from_mac(world.MAC)
    assert proof.certificate == dice.device_certificate(uds, bytes(64), bytes(64))


def test_a_provisioned_board_speaks_protocol_1_when_told_so(board: BoardProcess) -> None:
    with agents.Agent(agents.serves(agents.sends(NEW))) as agent:
        answer = attest(board, OLD, agent.address, protocol=1)
    assert answer["raised"] is None
    assert answer["boots"] == "ota_1"


def test_a_board_that_may_not_speak_protocol_1_asks_nobody(board: BoardProcess) -> None:
    for options in (
        {"identity": "mac"},
        {"identity": "provisioned", "protocol": 1},
        {"identity": "provisioned", "insecure": True},
    ):
        with agents.Agent(agents.serves(agents.sends(NEW))) as agent:
            answer = attest(board, OLD, agent.address, require_attestation=True, **options)
            assert agent.connections == 0
        assert answer["raised"] == "protocol-forbidden"
        assert answer["after"] == answer["before"]
        require_one_line(answer["status"]["error"]["message"])
