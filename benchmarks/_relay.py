"""Between a board and the agent: a connection that breaks once, in the middle of the image."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PIECE_BYTES = 1024


@contextmanager
def broken_once(agent: str, cut_at: int) -> Iterator[str]:
    """The address, `HOST:PORT`, of a relay to the agent. The first connection ends after cut_at
    bytes to the board, TLS included; every later one is left alone."""
    host, _, port = agent.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, (host, int(port)), cut_at))
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, agent: tuple[str, int], cut_at: int) -> None:
    left: int | None = cut_at
    with suppress(OSError):  # ends with the listener
        while True:
            board, _ = listener.accept()
            args = board, socket.create_connection(agent), left
            threading.Thread(target=_carry, args=args, daemon=True).start()
            left = None


def _carry(board: socket.socket, agent: socket.socket, left: int | None) -> None:
    up = threading.Thread(target=_copy, args=(board, agent, None), daemon=True)
    up.start()
    _copy(agent, board, left)
    up.join()
    board.close()
    agent.close()


def _copy(source: socket.socket, target: socket.socket, left: int | None) -> None:
    """Until the end, or so many bytes; then neither goes on."""
    with suppress(OSError):
        while left != 0 and (data := source.recv(min(_PIECE_BYTES, left or _PIECE_BYTES))):
            target.sendall(data)
            left = None if left is None else left - len(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
