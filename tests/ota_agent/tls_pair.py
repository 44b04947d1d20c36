"""A board and the agent's end of its TLS connection over a real socket, without the agent."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from OpenSSL import SSL

from ota_agent.tls_connection import NOT_NOW, RECORD_BYTES, TlsConnection
from ota_agent.tls_context import server_tls
from tests.ota_agent.board_peer import board_context
from tests.ota_agent.conftest import make_identity


class Pair:
    """A board and the agent's end of its connection, past the handshake; neither blocks."""

    def __init__(self, server: SSL.Context, client: ssl.SSLContext) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
            raw.connect(listener.getsockname())
            raw.setblocking(False)
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            self.agent = TlsConnection(accepted, server)
            self.board = client.wrap_socket(
                raw,
                server_hostname="ota-agent",
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        left = [self.board.do_handshake, self.agent.handshake]
        while left:
            with suppress(*NOT_NOW, ssl.SSLWantReadError):
                left[0]()
                left.pop(0)
                continue
            left.reverse()

    def send(self, count: int) -> int:
        """So many bytes from the agent, as many of them as the kernel takes."""
        sent = 0
        with suppress(*NOT_NOW):
            while sent < count:
                sent += self.agent.send(bytes(min(RECORD_BYTES, count - sent)))
        return sent

    def read(self) -> tuple[int, bool]:
        """How many bytes the board has received by now, and whether close_notify as well."""
        received = 0
        with suppress(ssl.SSLWantReadError):
            while piece := self.board.recv(65536):
                received += len(piece)
            return received, True
        return received, False

    def close(self) -> None:
        self.agent.close()
        self.board.close()


class Pairs:
    def __init__(self, folder: Path) -> None:
        identity = make_identity(folder / "identity")
        self._contexts = (
            server_tls(identity.certificate, identity.key).context,
            board_context(identity.certificate),
        )

    @contextmanager
    def pair(self, send_buffer_bytes: int | None = None) -> Iterator[Pair]:
        pair = Pair(*self._contexts)
        try:
            pair.agent.begin_transfer(send_buffer_bytes)
            yield pair
        finally:
            pair.close()

    @contextmanager
    def key_log(self, path: Path) -> Iterator[Path]:
        """Boards write the keys of their connections there."""
        _, client = self._contexts
        client.keylog_filename = str(path)
        yield path

    def most_that_fits(self, send_buffer_bytes: int) -> int:
        """The longest image that the kernel takes at once for a board that does not read."""
        fits, too_many = 1, 1_000_000
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            with self.pair(send_buffer_bytes) as pair:
                if pair.send(middle) == middle:
                    fits = middle
                else:
                    too_many = middle
        return fits
