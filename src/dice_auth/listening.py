"""Opening the listening socket, with errors that name the address and the reason."""

import errno
import socket

from dice_auth.errors import ListenError

_BACKLOG = 1024


def open_listener(host: str, port: int) -> socket.socket:
    """Bind and listen on host (a name or an address) and port (0: any free one).

    Raises ListenError with one line that names the address.
    """
    if not 0 <= port <= 65535:
        raise ListenError(f"cannot listen on {host}:{port}: ports are 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(f"cannot listen on {host}:{port}: no such host") from error
    # The protocol named: asyncio turns Nagle's algorithm off only where it sees TCP here, and
    # an answer in two writes would wait for the peer's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    return listener


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    if error.errno == errno.EACCES:
        return "not permitted (ports below 1024 need privileges)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this machine"
    return error.strerror or type(error).__name__
