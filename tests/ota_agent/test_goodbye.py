"""The end of the image is marked by close_notify, also where the kernel had no room for it."""

import asyncio
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.running_agent import IMAGE
from tests.ota_agent.scene import scene


@pytest.mark.parametrize("fault", ["no room, twice", "room at once"])
def test_a_board_sees_the_end_of_the_image_however_full_the_kernel_was(
    tmp_path: Path, board_certificate: bytes, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """OpenSSL's answer to a full socket, given by the socket itself: which sizes fill it is the
    kernel's own affair."""
    refusals = [SSL.WantWriteError()] * (2 if fault == "no room, twice" else 0)
    shutdown = SSL.Connection.shutdown

    def full_at_first(self: SSL.Connection) -> bool:
        if refusals:
            raise refusals.pop()
        return shutdown(self)

    monkeypatch.setattr(SSL.Connection, "shutdown", full_at_first)

    async def run() -> None:
        async with scene(tmp_path) as here:

            def work(board: BoardPeer) -> bytes:
                board.socket.sendall(board_certificate)
                received = bytearray()
                while piece := board.socket.recv(65536):
                    received += piece
                    # Anything that wakes the agent's socket.
                    board.socket.send(b"x")
                return bytes(received)

            assert await here.board(work) == IMAGE
            assert (await here.agent.next_session())["outcome"] == "sent"

    asyncio.run(run())
    assert not refusals
