"""Boards that go away, or stop, or send nonsense, at every step of a session."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Scene, scene

pytestmark = pytest.mark.usefixtures("quick_deadlines")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
# More than the kernel takes for a board that does not read, with a small buffer for sending.
IMAGE = signed_image(size=1_000_000)


def close(board: BoardPeer) -> None:
    board.socket.close()


def say_goodbye(board: BoardPeer) -> None:
    """close_notify, and the FIN with it."""
    board.socket.settimeout(0)
    with suppress(OSError):
        board.socket.unwrap()
    board.socket.close()


def send_garbage(board: BoardPeer) -> None:
    with board.raw() as raw:
        raw.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))


def stop(board: BoardPeer) -> None:
    return


# What a board has done before, by name: see Steps.
LEAVING: dict[str, Callable[[BoardPeer], None]] = {
    "closes": close,
    "says goodbye": say_goodbye,
    "resets": BoardPeer.reset,
    "sends garbage": send_garbage,
    "stops": stop,
}
GIVEN_NOTHING = {
    "closes": {"closed-by-board"},
    "says goodbye": {"closed-by-board"},
    # Python before 3.11.9 cannot tell a reset from an end (python/cpython issue 115627).
    "resets": {"connection-lost", "closed-by-board"},
    "sends garbage": {"connection-lost"},
}
OUTCOMES: dict[str, dict[str, set[str]]] = {
    "before its certificate": {**GIVEN_NOTHING, "stops": {"certificate-timeout"}},
    "in its certificate": {**GIVEN_NOTHING, "stops": {"certificate-timeout"}},
    "while it is attested": GIVEN_NOTHING,
    "in the transfer": {
        "closes": {"connection-lost"},
        "says goodbye": {"connection-lost"},
        "resets": {"connection-lost"},
        "sends garbage": {"transfer-timeout"},
        "stops": {"transfer-timeout"},
    },
}
CASES = [(step, way) for step, ways in OUTCOMES.items() for way in ways]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("step", "way"), CASES)
def test_a_board_that_leaves_ends_its_own_session_alone(
    tmp_path: Path, board_certificate: bytes, step: str, way: str, version: ssl.TLSVersion
) -> None:
    limits = {
        "certificate_timeout_s": 0.2, "idle_timeout_s": 0.3, "closing_timeout_s": 0.05,
        "send_buffer_bytes": 65536, "image": IMAGE,
    }  # fmt: skip

    async def run() -> None:
        async with scene(tmp_path, **limits) as here, here.unharmed(board_certificate):
            ended = threading.Event()
            loop = asyncio.get_running_loop()
            if step == "while it is attested":
                here.attestation.gate = asyncio.Event()

            def work(board: BoardPeer) -> None:
                go_to(step, board, here, loop, board_certificate)
                LEAVING[way](board)
                if here.attestation.gate is not None:
                    loop.call_soon_threadsafe(here.attestation.gate.set)
                assert ended.wait(5)

            board = asyncio.create_task(here.board(work, board_context(here.ca, version)))
            try:
                line = await here.agent.next_session()
            finally:
                ended.set()
                await board
            assert line["outcome"] in OUTCOMES[step][way]
            assert line["reason"]
            if step != "in the transfer":
                assert line["bytes"] == 0
            else:
                assert 0 < line["bytes"] < len(IMAGE)

    asyncio.run(run())


def go_to(
    step: str,
    board: BoardPeer,
    here: Scene,
    loop: asyncio.AbstractEventLoop,
    presented: bytes,
) -> None:
    """Let the board do what comes before this step."""
    here.attestation.asked.clear()
    if step == "in its certificate":
        board.socket.sendall(presented[:300])
    elif step != "before its certificate":
        board.socket.sendall(presented)
    if step == "while it is attested":
        asyncio.run_coroutine_threadsafe(here.attestation.asked.wait(), loop).result(5)
    elif step == "in the transfer":
        board.socket.recv(1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_board_that_was_cut_off_can_tell_that_from_the_end_of_the_image(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    """A reset in place of the FIN."""
    limits = {"idle_timeout_s": 0.3, "image": IMAGE, "send_buffer_bytes": 65536}

    async def run() -> None:
        async with scene(tmp_path, **limits) as here:
            ended = threading.Event()

            def work(board: BoardPeer) -> None:
                board.socket.sendall(board_certificate)
                board.socket.recv(1)
                assert ended.wait(5)
                # Below TLS, where Python tells a reset from an end.
                with board.raw() as raw, pytest.raises(ConnectionResetError):
                    read_to_the_end(raw)

            board = asyncio.create_task(here.board(work, board_context(here.ca, version)))
            try:
                assert (await here.agent.next_session())["outcome"] == "transfer-timeout"
            finally:
                ended.set()
            await board

    asyncio.run(run())


def read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def test_a_refused_board_that_never_closes_is_not_kept(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """Nor one that goes on sending for ever."""

    async def run() -> None:
        async with (
            scene(tmp_path, closing_timeout_s=0.1) as here,
            here.unharmed(board_certificate),
        ):
            with here.connect() as quiet, here.connect() as loud:
                quiet.sendall(bytes(100))
                flooding = asyncio.create_task(asyncio.to_thread(flood, loud))
                lines = [await here.agent.next_session() for _ in range(2)]
                await flooding
            assert [line["outcome"] for line in lines] == ["handshake-failed"] * 2
            assert all(line["seconds"] < 3 for line in lines)

    asyncio.run(run())


def flood(client: socket.socket) -> None:
    """Send until the agent has had enough."""
    with suppress(ConnectionError):
        while True:
            client.sendall(bytes(65536))
