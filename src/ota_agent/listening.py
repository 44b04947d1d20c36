"""Opening the listening socket, with errors that name the address and the reason."""

import errno
import socket

from ota_agent.errors import ListenError

_BACKLOG = 1024


def open_shared_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets that share one address, among which the kernel spreads the connections.

    Arguments and errors as of `open_listener`.
    """
    # One that shares would also share with another agent that is running there already.
    with open_listener(host, port) as alone:
        port = alone.getsockname()[1]
    return [open_listener(host, port, shared=True) for _ in range(count)]


def open_listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind and listen on host (a name or an address) and port (0: any free one).

    shared: other sockets of this user may have the same address. Raises ListenError with one
    line that names the address.
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
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
