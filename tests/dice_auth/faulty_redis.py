"""A real redis-server that tests stop, suspend and start again, with its data or without."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dice_auth.boards import Board
from tests.dice_auth.redis_peer import RedisPeer


class FaultyRedis(RedisPeer):
    def keep_data(self) -> None:
        """What there is now is there again after the next start."""
        self.run("SAVE")

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """It takes connections (the kernel does) and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def submit_like_c(self, board: Board) -> None:
        self.run("HSET", board.board_id, "root_cert", board.root_pem)


@contextmanager
def faulty_redis(folder: Path) -> Iterator[FaultyRedis]:
    """One that no other test uses, running and empty."""
    peer = FaultyRedis(folder)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
