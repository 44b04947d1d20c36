"""Reaching a TCP port, and telling apart why it cannot be reached.

Every wait has a deadline, a look-up of a name too (which the C library may not end for half a
minute: it runs in a thread that nobody waits for).
"""

import errno
import queue
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from ota_cli.doctor.finding import Findings

CONNECT_S = 3.0
_LOOK_UP_S = 3.0


class Place(NamedTuple):
    """address: what the host's name was resolved to; a text, IPv4 or IPv6."""

    host: str
    port: int
    address: str


class Unreached(Exception):
    """No connection. kind: `name-unresolved`, `no-ipv4`, `refused`, `timeout` or `unreachable`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def find(host: str, port: int, *, ipv4_only: bool = False) -> Place:
    """Resolve a host's name. Raises Unreached."""
    answers: queue.Queue[list[str] | Exception] = queue.Queue()
    threading.Thread(target=_look_up, args=(host, port, answers.put), daemon=True).start()
    try:
        found = answers.get(timeout=_LOOK_UP_S)
    except queue.Empty:
        raise Unreached("name-unresolved", f"no answer about {host} in {_LOOK_UP_S:g} s") from None
    if isinstance(found, Exception) or not found:
        raise Unreached("name-unresolved", f"no address for the name {host}")
    ipv4 = [address for address in found if ":" not in address]
    if ipv4_only and not ipv4:
        raise Unreached("no-ipv4", f"{host} has only IPv6 addresses ({found[0]})")
    return Place(host, port, (ipv4 or found)[0])


def _look_up(host: str, port: int, answer: Callable[[list[str] | Exception], None]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer([str(entry[4][0]) for entry in found])
    except (OSError, UnicodeError) as error:
        answer(error)


def connect(place: Place, timeout_s: float = CONNECT_S) -> socket.socket:
    """A TCP connection with this timeout. Raises Unreached."""
    where = f"{place.address} port {place.port}"
    try:
        return socket.create_connection((place.address, place.port), timeout_s)
    except TimeoutError:
        text = f"no answer from {where} in {timeout_s:g} s"
        raise Unreached("timeout", text) from None
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            raise Unreached("refused", f"connection refused at {where}") from None
        if error.errno == errno.ETIMEDOUT:
            raise Unreached("timeout", f"no answer from {where}") from None
        reason = (error.strerror or type(error).__name__).lower()
        raise Unreached("unreachable", f"{where}: {reason}") from None


def reach(prefix: str, host: str, port: int, findings: Findings) -> Place | None:
    """Resolve and connect once; None with a finding `PREFIX-...` where that cannot be done."""
    try:
        place = find(host, port, ipv4_only=prefix == "agent")
        connect(place).close()
    except Unreached as error:
        findings.add(f"{prefix}-{error.kind}", str(error))
        return None
    return place
