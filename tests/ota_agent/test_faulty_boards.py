"""Whatever one board does, it ends its own session, with a reason, and touches no other."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ota_agent.attestation_peer import status
from tests.ota_agent.board_peer import BoardPeer, board_context, reset
from tests.ota_agent.handshake import client_hello
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE
from tests.ota_agent.scene import scene

pytestmark = pytest.mark.usefixtures("quick_deadlines")
HELLO = client_hello()
LOST = {"handshake-failed", "connection-lost"}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def sends(
    content: bytes, then: Callable[[socket.socket], None] | None = None
) -> Callable[..., None]:
    def fault(client: socket.socket) -> None:
        client.sendall(content)
        if then is not None:
            then(client)

    return fault


def of_size(size: int) -> bytes:
    """So many bytes of what says it is a certificate of as many, or of 2,000 where they are
    fewer."""
    return (b"\x30\x82" + (max(size, 2000) - 4).to_bytes(2, "big") + bytes(5000))[:size]


BEFORE_TLS: dict[str, tuple[Callable[[socket.socket], None], set[str]]] = {
    "silent": (sends(b""), {"handshake-timeout"}),
    "one byte": (sends(HELLO[:1]), {"handshake-timeout"}),
    "garbage": (sends(bytes(range(256)) * 4), {"handshake-failed"}),
    "zeros without end": (sends(bytes(100_000)), {"handshake-failed"}),
    "HTTP": (sends(b"GET / HTTP/1.1\r\n\r\n"), {"handshake-failed"}),
    "a certificate without TLS": (sends(of_size(700)), {"handshake-failed"}),
    "SSH": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), {"handshake-failed"}),
    "a record longer than records are": (sends(b"\x16\x03\x01\xff\xff"), {"handshake-failed"}),
    "an alert": (sends(b"\x15\x03\x01\x00\x02\x02\x28"), {"handshake-failed"}),
    "half a hello": (sends(HELLO[: len(HELLO) // 2]), {"handshake-timeout"}),
    "half a hello, then closed": (sends(HELLO[: len(HELLO) // 2], socket.socket.close), LOST),
    "half a hello, then reset": (sends(HELLO[: len(HELLO) // 2], reset), LOST),
    "a hello with a byte changed": (
        sends(HELLO[:6] + bytes([HELLO[6] ^ 1]) + HELLO[7:] + bytes(66_000)),
        {"handshake-failed"},
    ),
    "a hello and nothing more": (sends(HELLO), {"handshake-timeout"}),
    "a hello, then closed": (sends(HELLO, socket.socket.close), LOST),
    "a hello, then reset": (sends(HELLO, reset), LOST),
    "two hellos": (sends(HELLO * 2), {"handshake-failed"}),
    "closed at once": (sends(b"", socket.socket.close), LOST),
    "reset at once": (sends(b"", reset), LOST),
}


@pytest.mark.parametrize("name", BEFORE_TLS)
def test_one_without_a_handshake_is_let_go_and_the_next_is_served(
    tmp_path: Path, board_certificate: bytes, name: str
) -> None:
    fault, outcomes = BEFORE_TLS[name]

    async def run() -> None:
        async with (
            scene(tmp_path, handshake_timeout_s=0.2, closing_timeout_s=0.05) as here,
            here.unharmed(board_certificate),
        ):
            with here.connect() as client:
                fault(client)
                line = await here.agent.next_session()
            assert line["outcome"] in outcomes
            assert line["bytes"] == 0
            assert line["reason"]

    asyncio.run(run())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("size", "outcome"), [(0, "certificate-timeout"), (1, "certificate-timeout"),
                          (699, "certificate-timeout"), (4096, "refused"),
                          (4097, "bad-certificate"), (5000, "bad-certificate")],
)  # fmt: skip
def test_a_certificate_of_any_size_harms_nobody(
    tmp_path: Path, board_certificate: bytes, size: int, outcome: str, version: ssl.TLSVersion
) -> None:
    async def run() -> None:
        async with (
            scene(tmp_path, certificate_timeout_s=0.15) as here,
            here.unharmed(board_certificate),
        ):
            here.attestation.answer = status(401)
            context = board_context(here.ca, version)
            assert await here.update(of_size(size), context) == b""
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == (outcome, 0)
            here.attestation.answer = status(200)

    asyncio.run(run())


@pytest.mark.parametrize("version", VERSIONS)
def test_two_certificates_get_nothing_however_they_are_sent(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    """In one record, or the second while the first is being attested."""

    async def run() -> None:
        async with scene(tmp_path) as here, here.unharmed(board_certificate):
            context = board_context(here.ca, version)
            assert await here.update(board_certificate * 2, context) == b""
            together = await here.agent.next_session()
            assert (together["outcome"], together["bytes"]) == ("bad-certificate", 0)

            here.attestation.gate = asyncio.Event()
            loop = asyncio.get_running_loop()

            def work(board: BoardPeer) -> bytes:
                here.attestation.asked.clear()
                board.socket.sendall(board_certificate)
                asked = here.attestation.asked.wait()
                asyncio.run_coroutine_threadsafe(asked, loop).result(5)
                board.socket.sendall(board_certificate)
                loop.call_soon_threadsafe(here.attestation.gate.set)
                return board.read_all()

            assert await here.board(work, context) == b""
            apart = await here.agent.next_session()
            assert (apart["outcome"], apart["bytes"]) == ("bad-certificate", 0)
            assert "after the certificate" in apart["reason"]

    asyncio.run(run())


def test_bytes_that_trickle_do_not_prolong_the_deadline_of_the_handshake(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with (
            scene(tmp_path, handshake_timeout_s=0.4, closing_timeout_s=0.1) as here,
            here.unharmed(board_certificate),
        ):
            with here.connect() as client:
                stop = trickle(client, HELLO)
                line = await here.agent.next_session()
                stop()
            assert line["outcome"] == "handshake-timeout"
            assert line["seconds"] < 2

    asyncio.run(run())


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_that_trickle_do_not_prolong_the_deadline_of_the_certificate(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    async def run() -> None:
        async with (
            scene(tmp_path, certificate_timeout_s=0.4, closing_timeout_s=0.1) as here,
            here.unharmed(board_certificate),
        ):
            context = board_context(here.ca, version)
            board = await asyncio.to_thread(BoardPeer, here.agent.address, context)
            with board:
                stop = trickle(board.socket, board_certificate)
                line = await here.agent.next_session()
                stop()
            assert line["outcome"] == "certificate-timeout"
            assert line["seconds"] < 2

    asyncio.run(run())


def trickle(client: socket.socket, content: bytes) -> Callable[[], None]:
    """Send a byte every 20 ms from a thread, until what is returned is called: that checks that
    there were bytes left."""
    over = threading.Event()
    sent: list[int] = []

    def work() -> None:
        try:
            for byte in content:
                client.sendall(bytes([byte]))
                sent.append(byte)
                if over.wait(0.02):
                    break
        except OSError:
            return

    thread = threading.Thread(target=work)
    thread.start()

    def stop() -> None:
        over.set()
        thread.join(5)
        assert not thread.is_alive()
        assert 5 < len(sent) < len(content)

    return stop


def test_a_board_that_resets_after_the_last_byte_has_been_served(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """As C boards do: they know where the image ends, say goodbye and read no further."""

    async def run() -> None:
        async with scene(tmp_path) as here, here.unharmed(board_certificate):

            def work(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                left = len(IMAGE)
                while left:
                    left -= len(board.socket.recv(left))
                # Its alert goes out, acknowledging all it has; then, with unread bytes
                # of ours in its socket, its TCP resets.
                with board.raw() as raw:
                    raw.sendall(bytes(31))
                board.reset()

            await here.board(work)
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == ("sent", len(IMAGE))

    asyncio.run(run())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_board_that_sends_garbage_or_its_end_while_it_receives_gets_the_whole_image(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    async def run() -> None:
        image = signed_image(size=3_000_000)
        async with scene(tmp_path, image=image) as here, here.unharmed(board_certificate):

            def work(board: BoardPeer, noise: bytes) -> bytes:
                board.socket.sendall(board_certificate)
                first = board.socket.recv(1)
                with board.raw() as raw:
                    raw.sendall(noise)
                    raw.shutdown(socket.SHUT_WR)
                return first + board.read_all()

            for noise in (b"", bytes(500), b"\xff" * 300_000):
                context = board_context(here.ca, version)
                received = await here.board(lambda board, noise=noise: work(board, noise), context)
                assert received == image
                assert (await here.agent.next_session())["outcome"] == "sent"

    asyncio.run(run())
