"""Whatever one board does, it ends its own session, with a reason, and touches no other."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ota_agent.attestation_peer import status
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE
from tests.ota_agent.scene import Scene, open_sockets, scene


def client_hello() -> bytes:
    out = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="ota-agent").do_handshake()
    return out.read()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


HELLO = client_hello()
Fault = Callable[[socket.socket], None]

BEFORE_TLS: dict[str, tuple[Fault, set[str]]] = {
    "silent": (lambda client: None, {"handshake-timeout"}),
    "garbage": (lambda client: client.sendall(bytes(range(256)) * 4), {"handshake-failed"}),
    "HTTP": (lambda client: client.sendall(b"GET / HTTP/1.1\r\n\r\n"), {"handshake-failed"}),
    "half a hello": (lambda client: client.sendall(HELLO[:100]), {"handshake-timeout"}),
    "half a hello, then closed": (
        lambda client: (client.sendall(HELLO[:100]), client.close())[1],
        {"handshake-failed", "connection-lost"},
    ),
    "half a hello, then reset": (
        lambda client: (client.sendall(HELLO[:100]), reset(client))[1],
        {"handshake-failed", "connection-lost"},
    ),
    "a hello and nothing more": (lambda client: client.sendall(HELLO), {"handshake-timeout"}),
    "a hello, then closed": (
        lambda client: (client.sendall(HELLO), client.close())[1],
        {"handshake-failed", "connection-lost"},
    ),
    "closed at once": (lambda client: client.close(), {"handshake-failed", "connection-lost"}),
    "reset at once": (reset, {"handshake-failed", "connection-lost"}),
}


@pytest.mark.parametrize("name", BEFORE_TLS)
def test_one_without_a_handshake_is_let_go_and_the_next_is_served(
    tmp_path: Path, board_certificate: bytes, name: str
) -> None:
    fault, outcomes = BEFORE_TLS[name]

    async def run() -> None:
        async with scene(tmp_path, handshake_timeout_s=0.3, closing_timeout_s=0.2) as here:
            with here.connect() as client:
                fault(client)
                line = await here.agent.next_session()
            assert line["outcome"] in outcomes
            assert line["bytes"] == 0
            assert await here.update(board_certificate) == IMAGE

    asyncio.run(run())


@pytest.mark.parametrize(
    ("size", "outcome"), [(0, "certificate-timeout"), (699, "certificate-timeout"),
                          (4096, "refused"), (5000, "bad-certificate")],
)  # fmt: skip
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_any_size_harms_nobody(
    tmp_path: Path, board_certificate: bytes, size: int, outcome: str, version: ssl.TLSVersion
) -> None:
    header = b"\x30\x82" + (max(size, 2000) - 4).to_bytes(2, "big")
    sent = (header + bytes(5000))[:size]

    async def run() -> None:
        async with scene(tmp_path, status(401), certificate_timeout_s=0.3) as here:
            context = board_context(tmp_path / "identity" / "certificate.pem", version)
            assert await here.update(sent, context) == b""
            assert (await here.agent.next_session())["outcome"] == outcome
            here.attestation.answer = status(200)
            assert await here.update(board_certificate, context) == IMAGE

    asyncio.run(run())


def test_a_certificate_may_be_split_at_every_byte(tmp_path: Path, board_certificate: bytes) -> None:
    """Two TLS records, the second sent when the agent must have seen the first."""

    def work(board: BoardPeer, at: int) -> int:
        board.socket.sendall(board_certificate[:at])
        board.socket.sendall(board_certificate[at:])
        return len(board.read_all())

    async def run() -> None:
        image = signed_image(size=4000)
        async with scene(tmp_path, image=image) as here:
            for first in range(1, len(board_certificate), 64):
                splits = range(first, min(first + 64, len(board_certificate)))
                received = await asyncio.gather(
                    *(here.board(lambda board, at=at: work(board, at)) for at in splits)
                )
                assert received == [len(image)] * len(splits)

    asyncio.run(run())


def test_bytes_that_trickle_do_not_prolong_the_deadline(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, certificate_timeout_s=0.5) as here:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()

            def work(board: BoardPeer) -> None:
                with pytest.raises(OSError):  # noqa: PT011, PT012
                    for byte in b"\x30\x82\x02\xb8" + bytes(696):
                        board.socket.sendall(bytes([byte]))
                        waited = asyncio.run_coroutine_threadsafe(_wait(over), loop)
                        waited.result(5)

            async def _wait(event: asyncio.Event) -> None:
                try:
                    async with asyncio.timeout(0.02):
                        await event.wait()
                except TimeoutError:
                    return

            board = asyncio.create_task(here.board(work))
            line = await here.agent.next_session()
            over.set()
            await board
            assert line["outcome"] == "certificate-timeout"
            assert line["seconds"] < 2

    asyncio.run(run())


def test_a_reset_in_the_middle_of_a_transfer_leaves_no_socket(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=signed_image(size=6_000_000)) as here:
            await here.update(board_certificate)
            await here.agent.next_session()
            before = open_sockets()

            def work(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                board.socket.recv(1)
                reset(board.socket)

            for _ in range(5):
                await here.board(work)
                assert (await here.agent.next_session())["outcome"] == "connection-lost"
            assert open_sockets() == before

    asyncio.run(run())


def test_a_board_that_resets_after_the_last_byte_has_been_served(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """As C boards do: they know where the image ends, say goodbye and read no further."""

    async def run() -> None:
        async with scene(tmp_path) as here:

            def work(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                left = len(IMAGE)
                while left:
                    left -= len(board.socket.recv(left))
                # Its alert goes out, acknowledging all it has; then, with unread bytes
                # of ours in its socket, its TCP resets.
                with socket.socket(fileno=socket.dup(board.socket.fileno())) as raw:
                    raw.sendall(bytes(31))
                reset(board.socket)

            await here.board(work)
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == ("sent", len(IMAGE))

    asyncio.run(run())


def test_a_crowd_of_faulty_clients_does_not_keep_a_good_board_from_its_image(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        image = signed_image(size=3_000_000)
        async with scene(tmp_path, image=image) as here:
            crowd = await asyncio.to_thread(misbehave, here, board_certificate, 50)
            try:
                for _ in range(3):
                    assert await here.update(board_certificate) == image
            finally:
                for client in crowd:
                    client.close()

    asyncio.run(run())


def misbehave(here: Scene, presented: bytes, each: int) -> list[socket.socket]:
    """So many clients of each kind, connected and stuck."""
    crowd: list[socket.socket] = []
    for _ in range(each):
        for beginning in (b"", HELLO[:100], HELLO, bytes(500)):
            crowd.append(here.connect())
            crowd[-1].sendall(beginning)
        for half in (presented[:300], presented):
            client: Any = here.context.wrap_socket(here.connect(), server_hostname="ota-agent")
            client.sendall(half)
            crowd.append(client)
    return crowd
