"""A process that may open no more files: boards it has are served on, others wait a moment."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ota_agent.scene import scene
from tests.ota_agent.test_shutdown import LARGE, Board


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Of this process: the lowest that is free is over the limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_want_of_descriptors_hurts_nobody_for_long(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """A transfer that runs goes on; who comes meanwhile is served when there are some again."""

    async def run() -> None:
        async with scene(tmp_path, image=LARGE) as here:
            running = Board(here, board_certificate)
            await running.received.wait()
            with socket.socket() as comes:
                comes.settimeout(5)
                with no_more_descriptors():
                    # The kernel lets it connect; the agent cannot take it in.
                    comes.connect(here.agent.address)
                    line = await here.agent.next_event()
                    assert line["event"] == "accept-failed"
                    assert line["reason"] == "Too many open files"
                    assert await running.rest() == LARGE
                    assert (await here.agent.next_session())["outcome"] == "sent"

                def served() -> bytes:
                    with here.context.wrap_socket(comes, server_hostname="ota-agent") as board:
                        board.sendall(board_certificate)
                        return b"".join(iter(lambda: board.recv(65536), b""))

                assert await here.thread(served) == LARGE
                assert (await here.agent.next_session())["outcome"] == "sent"
            await here.serves(board_certificate)

    asyncio.run(run())
