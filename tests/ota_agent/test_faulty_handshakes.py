"""Clients that begin a handshake and then do not end it as they should."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ota_agent.board_peer import board_context, reset
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.handshake import Handshake, client_hello
from tests.ota_agent.scene import Scene, scene

pytestmark = pytest.mark.usefixtures("quick_deadlines")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
FATAL_UNKNOWN_CA = b"\x15\x03\x03\x00\x02\x02\x30"


def cut(flight: bytes) -> bytes:
    return flight[: len(flight) // 2]


def nothing(client: socket.socket) -> None:
    return


# What is sent in place of the client's second flight, what the client does then, the outcome.
FAULTS: dict[
    str, tuple[Callable[[bytes], bytes], Callable[[socket.socket], None], set[str]]
] = {
    "nothing": (lambda flight: b"", nothing, {"handshake-timeout"}),
    "closed": (lambda flight: b"", socket.socket.close, {"handshake-failed"}),
    "reset": (lambda flight: b"", reset, {"handshake-failed"}),
    "half of it": (cut, nothing, {"handshake-timeout"}),
    "half of it, then closed": (cut, socket.socket.close, {"handshake-failed"}),
    "half of it, then reset": (cut, reset, {"handshake-failed"}),
    "all but a byte": (lambda flight: flight[:-1], nothing, {"handshake-timeout"}),
    "its last byte changed": (
        lambda flight: flight[:-1] + bytes([flight[-1] ^ 1]), nothing, {"handshake-failed"},
    ),
    "garbage": (lambda flight: bytes(500), nothing, {"handshake-failed"}),
    "a second hello": (lambda flight: client_hello(), nothing, {"handshake-failed"}),
    "an alert": (lambda flight: FATAL_UNKNOWN_CA, nothing, {"handshake-failed"}),
    "it, then closed": (
        lambda flight: flight, socket.socket.close, {"closed-by-board", "connection-lost"},
    ),
    "it, then nothing": (lambda flight: flight, nothing, {"certificate-timeout"}),
    "it, then garbage": (lambda flight: flight + bytes(500), nothing, {"connection-lost"}),
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_handshake_that_breaks_off_ends_that_session_alone(
    tmp_path: Path, board_certificate: bytes, name: str, version: ssl.TLSVersion
) -> None:
    change, then, outcomes = FAULTS[name]
    limits = {
        "handshake_timeout_s": 0.2, "certificate_timeout_s": 0.2, "closing_timeout_s": 0.05,
    }  # fmt: skip

    async def run() -> None:
        async with scene(tmp_path, **limits) as here, here.unharmed(board_certificate):
            with here.connect() as client:
                flight = await asyncio.to_thread(second_flight, here, client, version)
                client.sendall(change(flight))
                then(client)
                line = await here.agent.next_session()
            assert line["outcome"] in outcomes
            assert (line["bytes"], line["key_id"]) == (0, None)

    asyncio.run(run())


def second_flight(here: Scene, client: socket.socket, version: ssl.TLSVersion) -> bytes:
    handshake = Handshake(client, board_context(here.ca, version))
    client.sendall(handshake.next_flight())
    return handshake.next_flight()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_handshake_and_a_certificate_in_single_bytes_are_as_good_as_any(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    async def run() -> None:
        async with scene(tmp_path) as here, here.unharmed(board_certificate):
            await asyncio.to_thread(work, here)
            assert (await here.agent.next_session())["outcome"] == "sent"

    def work(here: Scene) -> None:
        with here.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handshake = Handshake(client, board_context(here.ca, version))
            one_by_one(client, handshake.next_flight())
            one_by_one(client, handshake.next_flight())
            handshake.next_flight()
            one_by_one(client, handshake.sealed(board_certificate))
            while client.recv(65536):
                pass

    asyncio.run(run())


def one_by_one(client: socket.socket, content: bytes) -> None:
    for at in range(len(content)):
        client.sendall(content[at : at + 1])


@pytest.mark.parametrize("version", VERSIONS)
def test_certificate_and_handshake_in_one_segment_are_as_good_as_any(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    """In TLS 1.3 the certificate may follow the last handshake message at once; the agent is
    told only once that there is something to read."""

    async def run() -> None:
        async with scene(tmp_path) as here, here.unharmed(board_certificate):
            await asyncio.to_thread(work, here)
            assert (await here.agent.next_session())["outcome"] == "sent"

    def work(here: Scene) -> None:
        with here.connect() as client:
            handshake = Handshake(client, board_context(here.ca, version))
            client.sendall(handshake.next_flight())
            flight = handshake.next_flight()
            if version is ssl.TLSVersion.TLSv1_3:
                client.sendall(flight + handshake.sealed(board_certificate))
            else:
                client.sendall(flight)
                handshake.next_flight()
                client.sendall(handshake.sealed(board_certificate))
            while client.recv(65536):
                pass

    asyncio.run(run())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_board_that_does_not_trust_the_agent_is_told_apart_in_the_log(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    async def run() -> None:
        other = make_identity(tmp_path / "other")
        async with scene(tmp_path) as here, here.unharmed(board_certificate):
            with pytest.raises(ssl.SSLCertVerificationError):
                await here.update(board_certificate, board_context(other.certificate, version))
            line = await here.agent.next_session()
            assert line["outcome"] == "handshake-failed"
            assert "alert" in line["reason"]

    asyncio.run(run())
