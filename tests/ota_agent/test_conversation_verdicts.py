"""What the attestation server answers to challenges and evidence: only one kind lets a board in."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.ota_agent.attested_scene import (
    VERDICT,
    HttpBoard,
    Response,
    ScriptedServer,
    attested_scene,
    dead_url,
    http,
    refusal,
    verdict,
)
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.running_agent import IMAGE, running_agent, settings_for
from tests.ota_agent.scene import Scene

pytestmark = pytest.mark.usefixtures("quick_deadlines")
JSON = "application/json"
GOOD = json.dumps(VERDICT).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("check", ["nonce", "reference-values", None])
def test_a_refusal_is_passed_on_with_the_name_of_the_check_and_nothing_else(
    tmp_path: Path, status: int, check: str | None
) -> None:
    members = {"detail": "secret of the server", "instance": "/x"}
    if check is not None:
        members["check"] = check

    async def run() -> None:
        script = ScriptedServer(attest=refusal(status, **members))
        async with attested_scene(tmp_path, script) as here:

            def work(board: HttpBoard) -> Response:
                board.challenge()
                found = board.attest()
                assert board.firmware("A" * 43).status == 401
                here.server.attest = verdict()
                assert board.firmware(board.token()).body == IMAGE
                return found

            found = await here.talk(work)
            assert found.status == status
            assert found.problem.get("check") == check
            assert b"secret" not in found.body
            assert set(found.problem) <= {"title", "status", "detail", "check"}
            assert ("www-authenticate" in found.headers) == (status == 401)

    asyncio.run(run())


def test_the_log_says_why_a_board_was_refused(tmp_path: Path) -> None:
    async def run() -> None:
        script = ScriptedServer(attest=refusal(401, check="nonce"))
        async with attested_scene(tmp_path, script) as here:
            await here.talk(lambda board: board.attest())
            line = await here.agent.next_session()
            assert (line["outcome"], line["verdict"]) == ("refused", "refused (nonce)")
            assert line["reason"] == "attestation server: status 401 (nonce)"
            assert (line["device"], line["bytes"]) == (None, 0)

    asyncio.run(run())


UNWANTED = {
    "not affirming": verdict(verdict="contraindicated"),
    "no verdict": verdict(verdict=None),
    "no device": verdict(device=None),
    "not JSON": http(200, JSON, b"affirming"),
    "HTML": http(200, "text/html", GOOD),
    "a verdict twice": http(200, JSON, b'{"verdict": "no", ' + GOOD[1:]),
    "JSON without end": http(200, JSON, b"[" * 60_000),
    "a name without end": verdict(device="x" * 60_000),
    "nothing": http(200, JSON, b""),
    "protocol 1's answer": http(200, JSON, b'{"status": "Certificate OK"}'),
    "201": http(201, JSON, GOOD),
    "204": b"HTTP/1.1 204 x\r\n\r\n",
    "a redirect": http(302, JSON, GOOD, "Location: http://127.0.0.1:1/attest\r\n"),
    "400": http(400, JSON, GOOD),
    "404": http(404, JSON, GOOD),
    "500": http(500, JSON, GOOD),
    "503": http(503, JSON, GOOD),
    "endless": HEAD + b"Content-Length: 1000000\r\n\r\n" + b" " * 100_000,
    "endless chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 30_000,
    "half": HEAD + b"Content-Length: 9999\r\nConnection: close\r\n\r\n" + GOOD,
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two types": http(200, JSON, GOOD, "Content-Type: text/html\r\n"),
    "no HTTP": b"hello\r\n\r\nConnection: close",
    "another protocol": b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + GOOD,
    "silence": None,
}


def assert_503(found: Response) -> None:
    assert found.status == 503
    assert found.headers["retry-after"] == "10"
    assert found.problem["detail"] == "no word from the attestation server"


@pytest.mark.parametrize("name", UNWANTED)
def test_anything_but_an_affirming_verdict_lets_nobody_in(tmp_path: Path, name: str) -> None:
    async def run() -> None:
        script = ScriptedServer(attest=UNWANTED[name])
        async with attested_scene(tmp_path, script, attestation_timeout_s=0.5) as here:

            def work(board: HttpBoard) -> None:
                board.challenge()
                assert_503(board.attest())
                assert board.firmware("A" * 43).status == 401

            await here.talk(work)
            assert len(here.server.heads("/attest")) == 1
            line = await here.agent.next_session()
            assert (line["device"], line["verdict"], line["bytes"]) == (None, None, 0)
            here.server.attest = verdict()
            assert (await here.talk(lambda board: board.firmware(board.token()))).body == IMAGE

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        http(200, "application/octet-stream", bytes(31)),
        http(200, "application/octet-stream", bytes(33)),
        http(200, "application/octet-stream", b""),
        http(200, JSON, bytes(32)),
        http(201, "application/octet-stream", bytes(32)),
        http(401, "application/octet-stream", bytes(32)),
        http(503, "application/octet-stream", bytes(32)),
    ],
)
def test_what_is_no_nonce_is_not_passed_on(tmp_path: Path, answer: bytes) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, ScriptedServer(challenge=answer)) as here:
            assert_503(await here.talk(lambda board: board.ask("GET", "/v2/challenge")))
            line = await here.agent.next_session()
            assert line["outcome"] == "attestation-unavailable"
            assert line["reason"].startswith("attestation server: ")

    asyncio.run(run())


def test_a_server_that_is_down_is_not_asked_again_and_again_by_either_protocol(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """They share the circuit breaker."""

    async def run() -> None:
        identity = make_identity(tmp_path / "identity")
        settings = settings_for(tmp_path, identity, dead_url())
        async with running_agent(settings) as agent:
            here = Scene(agent, None, identity.certificate)  # type: ignore[arg-type]

            def work() -> Response:
                from tests.ota_agent.board_peer import BoardPeer

                with BoardPeer(agent.address, here.context) as board:
                    return HttpBoard(board).ask("GET", "/v2/challenge")

            for _ in range(5):
                assert_503(await here.thread(work))
                await agent.next_session()
            assert await here.update(board_certificate) == b""
            assert "not asked again" in (await agent.next_session())["reason"]
            here.close()

    asyncio.run(run())


def test_a_board_that_leaves_while_it_is_judged_is_forgotten(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        script = ScriptedServer()
        async with attested_scene(tmp_path, script) as here, here.unharmed(board_certificate):
            script.gate, script.asked = asyncio.Event(), asyncio.Event()
            await here.talk(lambda board: board.send("GET", "/v2/challenge"))
            await script.asked.wait()
            script.gate.set()
            line = await here.agent.next_session()
            assert line["outcome"] in ("closed-by-board", "connection-lost")

    asyncio.run(run())
