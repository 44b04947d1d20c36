"""A TLS client's handshake in pieces, for clients that stop in the middle of it."""

import socket
import ssl


class Handshake:
    """A handshake whose bytes the caller carries. connection: TCP to the agent."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="ota-agent")

    def next_flight(self) -> bytes:
        """What the client has to send next; reads the agent's answers as far as that takes."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    return self._outgoing.read()
                self._incoming.write(self._connection.recv(65536))
            else:
                return self._outgoing.read()

    def sealed(self, content: bytes) -> bytes:
        """Content as the records that carry it, after the handshake."""
        self.tls.write(content)
        return self._outgoing.read()


def client_hello() -> bytes:
    """Of a client that speaks TLS 1.2 and 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with socket.socket() as unused:
        return Handshake(unused, context).next_flight()
