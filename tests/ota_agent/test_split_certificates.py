"""A certificate that comes in pieces, wherever it is cut."""

import asyncio
import ssl
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ota_agent.protocol1 import CertificateReader
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Scene, Turns, scene

IMAGE = signed_image(size=4000)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_may_be_split_at_every_byte(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    """Two TLS records, which the agent reads apart; a session for each place to cut."""

    async def run() -> None:
        async with scene(tmp_path, image=IMAGE) as here, here.unharmed(board_certificate):
            context = board_context(here.ca, version)
            places = range(1, len(board_certificate))
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(4) as threads:
                received = await asyncio.gather(
                    *(
                        loop.run_in_executor(
                            threads, update_in_two, here, context, board_certificate, at
                        )
                        for at in places
                    )
                )
            assert received == [IMAGE] * len(places)
            lines = [await here.agent.next_session() for _ in places]
            assert Counter(line["outcome"] for line in lines) == {"sent": len(places)}
            assert len({line["key_id"] for line in lines}) == 1

    asyncio.run(run())


def update_in_two(here: Scene, context: ssl.SSLContext, presented: bytes, at: int) -> bytes:
    with BoardPeer(here.agent.address, context) as board:
        board.socket.sendall(presented[:at])
        board.socket.sendall(presented[at:])
        return board.read_all()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_may_come_in_a_record_for_each_byte(
    tmp_path: Path, board_certificate: bytes, version: ssl.TLSVersion
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=IMAGE) as here, here.unharmed(board_certificate):

            def work(board: BoardPeer) -> bytes:
                for at in range(len(board_certificate)):
                    board.socket.sendall(board_certificate[at : at + 1])
                return board.read_all()

            assert await here.board(work, board_context(here.ca, version)) == IMAGE
            assert (await here.agent.next_session())["outcome"] == "sent"
            assert len(here.attestation.requests) == 2

    asyncio.run(run())


def test_one_that_is_there_in_the_smallest_records_lets_others_have_their_turn(
    tmp_path: Path, board_certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    turns = Turns()
    feed = CertificateReader.feed

    def note(reader: CertificateReader, data: bytes) -> None:
        fed.append(turns.count)
        feed(reader, data)

    monkeypatch.setattr(CertificateReader, "feed", note)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with scene(tmp_path, image=IMAGE) as here:
            is_there, has_sent = asyncio.Event(), threading.Event()

            def work(board: BoardPeer) -> bytes:
                loop.call_soon_threadsafe(is_there.set)
                for byte in board_certificate:
                    board.socket.send(bytes([byte]))
                has_sent.set()
                return board.read_all()

            talking = asyncio.create_task(here.board(work))
            await is_there.wait()
            assert has_sent.wait(5)  # nobody has a turn meanwhile
            turns.begin()
            assert await talking == IMAGE

    asyncio.run(run())
    assert len(set(fed)) > 3
