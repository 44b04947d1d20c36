"""A board as the agent sees it: TLS client, certificate out, bytes in."""

import socket
import ssl
from pathlib import Path


def board_context(ca: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class BoardPeer:
    """Blocking; use it in a thread. Every operation gives up after 5 s."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        raw = socket.create_connection(address, timeout=5)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw_descriptor = raw.fileno()
        self.socket = context.wrap_socket(
            raw, server_hostname="ota-agent", suppress_ragged_eofs=False
        )

    def __enter__(self) -> "BoardPeer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def read_all(self) -> bytes:
        """Everything up to close_notify; a connection that ends without one is an SSLError."""
        received = bytearray()
        while piece := self.socket.recv(65536):
            received += piece
        return bytes(received)

    def reads_fin(self) -> bool:
        """After close_notify: does TCP end too, without a close from this side?"""
        with socket.socket(fileno=socket.dup(self.socket.fileno())) as raw:
            raw.settimeout(2)
            return raw.recv(1) == b""
