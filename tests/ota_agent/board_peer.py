"""A board as the agent sees it: TLS client, certificate out, bytes in."""

import socket
import ssl
import struct
from pathlib import Path


def board_context(ca: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def reset(connection: socket.socket) -> None:
    """Close with an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class BoardPeer:
    """Blocking; use it in a thread. Every operation gives up after 5 s.

    receive_buffer: SO_RCVBUF, as small as a board's.
    """

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        *,
        receive_buffer: int | None = None,
    ) -> None:
        raw = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:
            # Before it connects: the window's scale is agreed on then.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(5)
        try:
            raw.connect(address)
        except OSError:
            raw.close()
            raise
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(
            raw, server_hostname="ota-agent", suppress_ragged_eofs=False
        )

    def __enter__(self) -> "BoardPeer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def raw(self) -> socket.socket:
        """The TCP connection below TLS; to be closed by the caller."""
        raw = socket.socket(fileno=socket.dup(self.socket.fileno()))
        raw.settimeout(5)
        return raw

    def reset(self) -> None:
        """Gone without a goodbye: TCP's RST."""
        reset(self.socket)

    def read_all(self) -> bytes:
        """Everything up to close_notify; a connection that ends without one is an SSLError."""
        received = bytearray()
        while piece := self.socket.recv(65536):
            received += piece
        return bytes(received)

    def reads_fin(self) -> bool:
        """After close_notify: does TCP end too, without a close from this side?"""
        with self.raw() as raw:
            raw.settimeout(2)
            return raw.recv(1) == b""
