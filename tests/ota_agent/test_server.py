"""The agent over real TLS: what a board gets, and what no board can do to the others."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dice import certificate
from tests.ota_agent.attestation_peer import AttestationPeer, status
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import Identity, make_identity
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE, running_agent, settings_for
from tests.ota_agent.scene import Scene
from tests.ota_agent.scene import scene as running_scene
from tests.peers import needs_openssl

pytestmark = pytest.mark.usefixtures("quick_deadlines")
HALF_AN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{}"


@pytest.fixture
def scene(tmp_path: Path, identity: Identity) -> Callable[..., Any]:
    def make(answer: bytes | None = status(200), **changes: Any) -> Any:
        return running_scene(tmp_path, answer, **{"identity": identity, **changes})

    return make


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_an_accepted_board_gets_the_image_then_close_notify_then_fin(
    scene: Any, tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion, kind: str
) -> None:
    async def run() -> None:
        own = make_identity(tmp_path / kind, kind)
        # Long, so that the FIN the board sees is the one that follows close_notify at once.
        async with scene(identity=own, closing_timeout_s=30) as here:

            def work(board: BoardPeer) -> tuple[bytes, bool]:
                board.socket.sendall(board_certificate)
                return board.read_all(), board.reads_fin()

            context = board_context(own.certificate, version)
            received, fin = await here.board(work, context)
            assert received == IMAGE
            assert fin
            line = await here.agent.next_session()
            assert line["outcome"] == "sent"
            assert line["bytes"] == len(IMAGE)
            parsed = certificate.parse(board_certificate)
            assert line["key_id"] == parsed.subject_key_id.hex()
            assert line["root_key_id"] == parsed.authority_key_id.hex()
            assert line["peer"].startswith("127.0.0.1:")

    asyncio.run(run())


def test_the_attestation_server_is_asked_with_the_certificate_as_pem(
    scene: Any, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene() as here:
            await here.update(board_certificate)
            ((head, body),) = here.attestation.requests
            assert head.startswith(b"POST / HTTP/1.1\r\n")
            assert b"content-type: text/plain\r\n" in head.lower()
            assert body.decode() == certificate.to_pem(board_certificate)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (status(401), "refused"),
        (status(403), "refused"),
        (status(500), "attestation-unavailable"),
        (status(503), "attestation-unavailable"),
        (b"HTTP/1.1 204 x\r\n\r\n", "attestation-unavailable"),
        (b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "attestation-unavailable"),
        (HALF_AN_ANSWER, "attestation-unavailable"),
        (b"HTTP/1.1 200", "attestation-unavailable"),
        (b"no HTTP, close\r\n\r\n", "attestation-unavailable"),
        (None, "attestation-unavailable"),
    ],
)  # fmt: skip
def test_anything_but_a_whole_200_is_a_refusal_without_a_byte(
    scene: Any, board_certificate: bytes, answer: bytes | None, outcome: str
) -> None:
    async def run() -> None:
        async with scene(answer, attestation_timeout_s=0.3) as here:
            assert await here.update(board_certificate) == b""
            line = await here.agent.next_session()
            assert line["outcome"] == outcome
            assert line["bytes"] == 0
            here.attestation.answer = status(200)
            assert await here.update(board_certificate) == IMAGE

    asyncio.run(run())


def test_an_attestation_server_that_is_down_means_refusal_with_that_reason(
    tmp_path: Path, identity: Identity, board_certificate: bytes
) -> None:
    async def run() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
            async with running_agent(settings_for(tmp_path, identity, url)) as agent:
                peer = AttestationPeer(None)
                assert (
                    await Scene(agent, peer, identity.certificate).update(board_certificate) == b""
                )
                assert (await agent.next_session())["outcome"] == "attestation-unavailable"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (bytes(700), "unknown-protocol"),
        (b"\xff" * 5000, "unknown-protocol"),
        (b"\x30\x80" + bytes(700), "bad-certificate"),
        (b"\x30\x82\x10\x00" + bytes(4096), "bad-certificate"),
        (b"\x30\x84\xff\xff\xff\xff", "bad-certificate"),
        (b"\x30\x82\x02\xb8" + b"\xa5" * 696, "refused"),
    ],
)
def test_what_is_no_certificate_gets_nothing_and_harms_nobody(
    scene: Any, board_certificate: bytes, sent: bytes, outcome: str
) -> None:
    async def run() -> None:
        async with scene(status(401)) as here:
            assert await here.update(sent) == b""
            assert (await here.agent.next_session())["outcome"] == outcome
            here.attestation.answer = status(200)
            assert await here.update(board_certificate) == IMAGE

    asyncio.run(run())


def test_a_board_that_closes_in_the_middle_of_its_certificate_is_let_go(
    scene: Any, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene() as here:
            await here.board(lambda board: board.socket.sendall(board_certificate[:699]))
            line = await here.agent.next_session()
            assert line["outcome"] == "closed-by-board"
            assert "699 bytes" in line["reason"]

    asyncio.run(run())


def test_a_slow_board_gets_everything_after_the_agent_has_written_all(
    scene: Any, board_certificate: bytes
) -> None:
    """The kernel holds the rest; closing must not throw it away."""

    async def run() -> None:
        image = signed_image(size=1_500_000)
        async with scene(image=image, closing_timeout_s=0.1) as here:

            def work(board: BoardPeer) -> bytes:
                board.socket.sendall(board_certificate)
                first = board.socket.recv(1)
                # Until well after the agent's last write.
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5), loop).result(5)
                return first + board.read_all()

            loop = asyncio.get_running_loop()
            assert await here.board(work) == image

    asyncio.run(run())


@needs_openssl
def test_tls_below_1_2_is_not_spoken(scene: Any) -> None:
    async def run() -> None:
        async with scene() as here:
            host, port = here.agent.address
            process = await asyncio.create_subprocess_exec(
                "openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_1",
                "-cipher", "DEFAULT@SECLEVEL=0",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            _, errors = await process.communicate()
            assert process.returncode != 0
            assert b"alert protocol version" in errors
            assert (await here.agent.next_session())["outcome"] == "handshake-failed"

    asyncio.run(run())


def test_many_boards_are_served_at_once(scene: Any, board_certificate: bytes) -> None:
    async def run() -> None:
        async with scene() as here:
            received = await asyncio.gather(*(here.update(board_certificate) for _ in range(20)))
            assert received == [IMAGE] * 20

    asyncio.run(run())
