"""Hundreds of faulty clients of all kinds at once, and good boards among them. How fast these are
served is the benchmark's to say."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import pytest

from tests.ota_agent.board_peer import BoardPeer, reset
from tests.ota_agent.handshake import client_hello
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Scene, living_sessions, scene

CLIENTS = 300
HELLO = client_hello()
IMAGE = signed_image(size=3_000_000)
# Of clients that are stuck and of those that come and go again and again.
Kind = Callable[[Scene, bytes], socket.socket]


def plain(*sent: bytes) -> Kind:
    def client(here: Scene, presented: bytes) -> socket.socket:
        connection = here.connect()
        # The agent may have closed already.
        with suppress(OSError):
            for piece in sent:
                connection.sendall(piece)
        return connection

    return client


def encrypted(part: slice) -> Kind:
    def client(here: Scene, presented: bytes) -> socket.socket:
        board = BoardPeer(here.agent.address, here.context)
        board.socket.sendall(presented[part])
        return board.socket

    return client


def nonsense(here: Scene, presented: bytes) -> socket.socket:
    board = BoardPeer(here.agent.address, here.context)
    with board.raw() as raw:
        raw.sendall(bytes(500))
    return board.socket


# Silent ones, half hellos, whole ones, garbage; past the handshake: nothing, half a certificate, a
# whole one and then never a byte read, garbage.
KINDS: list[Kind] = [
    plain(), plain(HELLO[:100]), plain(HELLO), plain(bytes(500)), plain(b"GET / HTTP/1.0\r\n\r\n"),
    encrypted(slice(0)), encrypted(slice(300)), encrypted(slice(None)), nonsense,
]  # fmt: skip


def test_a_crowd_of_faulty_clients_does_not_keep_good_boards_from_their_image(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=IMAGE, closing_timeout_s=0.5) as here:
            before = here.open_descriptors()
            crowd = await asyncio.to_thread(gather_crowd, here, board_certificate)
            over = threading.Event()
            restless = asyncio.create_task(
                asyncio.to_thread(come_and_go, here, board_certificate, over)
            )
            try:
                for _ in range(3):
                    assert await here.update(board_certificate) == IMAGE
            finally:
                over.set()
                times = await restless
                for client in crowd:
                    client.close()
            lines = [await here.agent.next_session() for _ in range(CLIENTS + times + 3)]
            outcomes = Counter(line["outcome"] for line in lines)
            assert outcomes["sent"] == 3
            assert set(outcomes) <= {
                "sent", "handshake-failed", "closed-by-board", "connection-lost",
            }  # fmt: skip
            assert {line["bytes"] for line in lines if line["outcome"] == "sent"} == {len(IMAGE)}
            for _ in range(10):
                await asyncio.sleep(0)
            assert here.open_descriptors() == before
            assert living_sessions() == 0

    asyncio.run(run())


def gather_crowd(here: Scene, presented: bytes) -> list[socket.socket]:
    kinds = cycle(KINDS)
    return [next(kinds)(here, presented) for _ in range(CLIENTS)]


def come_and_go(here: Scene, presented: bytes, over: threading.Event) -> int:
    """Clients of every kind that close or reset as soon as they have done what they do; how many
    there were."""
    times = 0
    for kind in cycle(KINDS):
        if over.is_set():
            break
        client = kind(here, presented)
        (reset if times % 2 else socket.socket.close)(client)
        times += 1
    return times


@pytest.mark.usefixtures("quick_deadlines")
def test_silent_clients_that_take_every_place_give_them_back(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """They shut boards out for no longer than a handshake may take."""
    limits = {"max_connections": 50, "handshake_timeout_s": 0.2, "closing_timeout_s": 0.1}

    async def run() -> None:
        async with scene(tmp_path, **limits) as here:
            crowd = [here.connect() for _ in range(50)]
            lines = [await here.agent.next_session() for _ in crowd]
            assert {line["outcome"] for line in lines} == {"handshake-timeout"}
            await here.serves(board_certificate)
            for client in crowd:
                client.close()

    asyncio.run(run())
