"""Opening the listening socket, with errors that name the address and the reason."""

import errno
import socket

from dice_auth.errors import ListenError

_BACKLOG = 1024


def open_listener(host: str, port: int) -> socket.socket:
    """Bind and listen on host (a name or an address) and port (0: any free one).

    Raises ListenError with one line that names the address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(f"cannot listen on {host}:{port}: no such host") from error
    except OverflowError as error:
        raise ListenError(f"cannot listen on {host}:{port}: ports are 0 to 65535") from error
    try:
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OverflowError as error:
        raise ListenError(f"cannot listen on {host}:{port}: ports are 0 to 65535") from error
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    if error.errno == errno.EACCES:
        return "not permitted (ports below 1024 need privileges)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "not an address of this machine"
    return error.strerror or type(error).__name__
