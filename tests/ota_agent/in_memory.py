"""A handshake of a client with the agent's TLS context, without a socket."""

import ssl
from contextlib import suppress

from OpenSSL import SSL

# More than a handshake has flights.
_ROUNDS = 10


def shake_hands(
    server: SSL.Context, client: ssl.SSLContext, name: str | None = "ota-agent"
) -> tuple[SSL.Connection, ssl.SSLObject]:
    """The agent's end and the board's, which has all that the agent has sent. Raises ssl.SSLError
    or SSL.Error, whoever is not content first."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    board = client.wrap_bio(to_client, to_server, server_hostname=name)
    agent = SSL.Connection(server, None)
    agent.set_accept_state()
    for _ in range(_ROUNDS):
        is_done = _has_shaken_hands(board)
        if sent := to_server.read():
            agent.bio_write(sent)
        try:
            agent.do_handshake()
        except SSL.WantReadError:
            is_done = False
        _carry(agent, to_client)
        if is_done:
            return agent, board
    raise AssertionError("no end of the handshake")


def _has_shaken_hands(board: ssl.SSLObject) -> bool:
    try:
        board.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _carry(agent: SSL.Connection, to_client: ssl.MemoryBIO) -> None:
    with suppress(SSL.WantReadError):
        to_client.write(agent.bio_read(1 << 16))
