"""Protocol 2 as a whole: a board, the OTA agent, and this server, over real connections."""

import asyncio
import dataclasses
import hashlib
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dice_auth.registry import Revocation
from dice_auth.registry_url import open_registry
from dice_auth.settings import Settings
from ota_agent.attestation_access import read_access
from tests.dice_auth.asking import eventually
from tests.dice_auth.attesting import (
    BOARD,
    OTHER,
    ProvedBoard,
    attestation_server,
    enrol,
    proved_board,
)
from tests.dice_auth.certificates import CertificateAuthority
from tests.ota_agent.attested_scene import HttpBoard, Response
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import Identity, make_identity
from tests.ota_agent.running_agent import IMAGE, RunningAgent, running_agent, settings_for

TOKEN = "0123456789-the-agents-token"


class Fleet:
    """An agent that asks an attestation server of ours, and boards. channel: what they see."""

    def __init__(self, agent: RunningAgent, identity: Identity) -> None:
        self.agent = agent
        self._context = board_context(identity.certificate)
        der = ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())
        self.channel = hashlib.sha256(der).digest()

    async def board(self, work: Callable[[HttpBoard], Any]) -> Any:
        def run() -> Any:
            with BoardPeer(self.agent.address, self._context) as peer:
                return work(HttpBoard(peer))

        return await asyncio.wait_for(asyncio.to_thread(run), 20)

    async def attest(self, board: ProvedBoard = BOARD, **changes: Any) -> Response:
        def work(here: HttpBoard) -> Response:
            told = {"channel": self.channel, "hwmodel": "esp32"} | changes
            nonce = here.challenge()
            return here.attest(board.evidence(told.pop("nonce", nonce), **told))

        response: Response = await self.board(work)
        return response


@asynccontextmanager
async def fleet(folder: Path, url: str) -> AsyncIterator[Fleet]:
    """Agent and server know each other by a token, and by a CA of their own."""
    authority = CertificateAuthority(folder, "ca")
    files = authority.issue("attestation")
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    settings = Settings(None, token, files.certificate, files.key)
    identity = make_identity(folder / "identity")
    await enrol(url, BOARD, OTHER)
    async with asyncio.timeout(40), attestation_server(url, settings, "0.0.0.0") as address:
        at = f"https://127.0.0.1:{address[1]}"
        access = {"attestation_ca": authority.certificate, "attestation_token": token}
        read_access(at, *access.values(), plain_http_allowed=False)
        made = settings_for(folder, identity, at, require_attestation=True, **access)
        async with running_agent(made) as agent:
            yield Fleet(agent, identity)


def test_a_board_that_proves_itself_gets_the_firmware(sqlite_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with fleet(tmp_path, sqlite_url) as here:

            def update(board: HttpBoard) -> Response:
                nonce = board.challenge()
                data = BOARD.evidence(nonce, channel=here.channel, hwmodel="esp32")
                reply = board.attest(data)
                assert reply.status == 200, reply
                return board.firmware(json.loads(reply.body)["token"])

            reply = await here.board(update)
            assert (reply.status, reply.body) == (200, IMAGE)
            line = await here.agent.next_session()
            assert (line["outcome"], line["verdict"]) == ("sent", "affirming")
            assert (line["device"], line["application"]) == (BOARD.board_id, "thermo")
            assert line["claims"] == "self-asserted"

    asyncio.run(run())


def test_what_the_server_refuses_the_agent_names_to_the_board(
    sqlite_url: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with fleet(tmp_path, sqlite_url) as here:
            stranger = proved_board(3)
            for expected, changes in (
                ((401, "evidence-signature"), {"private_key": OTHER.private_key}),
                ((401, "channel"), {"channel": bytes(32)}),
                ((401, "ueid"), {"ueid": bytes(17)}),
                ((401, "nonce"), {"nonce": bytes(32)}),
                ((401, "not-enrolled"), {"presented": stranger.certificate}),
            ):
                reply = await here.attest(**changes)  # type: ignore[arg-type]
                assert (reply.status, reply.problem["check"]) == expected
                line = await here.agent.next_session()
                assert (line["outcome"], line["bytes"]) == ("refused", 0)
            async with open_registry(sqlite_url) as registry:
                await registry.revoke(BOARD.board_id, Revocation("stolen", 1))
            reply = await here.attest()
            assert (reply.status, reply.problem["check"]) == (403, "revoked")

    asyncio.run(run())


def test_evidence_replayed_over_another_connection_is_refused(
    sqlite_url: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with fleet(tmp_path, sqlite_url) as here:
            sent: list[bytes] = []

            def genuine(board: HttpBoard) -> Response:
                nonce = board.challenge()
                sent.append(BOARD.evidence(nonce, channel=here.channel))
                return board.attest(sent[0])

            assert (await here.board(genuine)).status == 200
            replayed = await here.board(lambda board: board.attest(sent[0]))
            assert (replayed.status, replayed.problem["check"]) == (401, "nonce")

    asyncio.run(run())


def test_an_agent_whose_token_is_no_longer_one_has_no_challenges(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Its boards are told to come again, not that they are refused."""

    async def run() -> None:
        async with fleet(tmp_path, sqlite_url) as here:
            assert (await here.attest()).status == 200
            (tmp_path / "token").write_text("another-token-of-somebody-else")

            async def is_unknown() -> bool:
                reply = await here.board(lambda board: board.ask("GET", "/v2/challenge"))
                return bool(reply.status == 503)

            await eventually(is_unknown, 10)

    asyncio.run(run())


def test_an_agent_may_show_a_client_certificate_instead_of_a_token(
    sqlite_url: str, tmp_path: Path
) -> None:
    authority = CertificateAuthority(tmp_path, "ca")
    files = authority.issue("attestation")
    own = authority.issue("agent", of_client=True)
    settings = Settings(
        certificate=files.certificate, key=files.key, client_ca=authority.certificate
    )
    identity = make_identity(tmp_path / "identity")

    async def run() -> None:
        await enrol(sqlite_url, BOARD)
        async with (
            asyncio.timeout(40),
            attestation_server(sqlite_url, settings, "0.0.0.0") as address,
        ):
            made = settings_for(
                tmp_path, identity, f"https://127.0.0.1:{address[1]}", require_attestation=True,
                attestation_ca=authority.certificate, attestation_certificate=own.certificate,
                attestation_key=own.key,
            )  # fmt: skip
            async with running_agent(made) as agent:
                assert (await Fleet(agent, identity).attest()).status == 200

    asyncio.run(run())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_can_ask_as_an_agent_does(sqlite_url: str, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, "ca")
    files = authority.issue("attestation")
    own = authority.issue("agent", of_client=True)
    settings = Settings(
        certificate=files.certificate, key=files.key, client_ca=authority.certificate
    )

    async def run() -> None:
        await enrol(sqlite_url, BOARD)
        async with attestation_server(sqlite_url, settings, "0.0.0.0") as (host, port):

            def curl(*arguments: str | Path) -> None:
                subprocess.run(
                    ["curl", "--silent", "--show-error", "--fail", "--cacert",
                     authority.certificate, "--cert", own.certificate, "--key", own.key,
                     *arguments],
                    check=True, timeout=20,
                )  # fmt: skip

            url = f"https://{host}:{port}"
            nonce, answer = tmp_path / "nonce", tmp_path / "answer"
            await asyncio.to_thread(curl, f"{url}/challenge", "--output", nonce)
            channel = bytes(range(32))
            evidence = tmp_path / "evidence"
            evidence.write_bytes(BOARD.evidence(nonce.read_bytes(), channel=channel))
            await asyncio.to_thread(
                curl, f"{url}/attest", "--output", answer, "--data-binary", f"@{evidence}",
                "--header", "Content-Type: application/eat+cwt",
                "--header", f"OTA-Channel: {channel.hex()}",
            )  # fmt: skip
            assert json.loads(answer.read_text())["verdict"] == "affirming"

    asyncio.run(run())


def test_the_settings_here_are_those_of_the_command_line() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == {
        "policy", "agent_tokens", "certificate", "key", "client_ca", "plain_http",
        "admin_tokens", "admin_rate",
    }  # fmt: skip
