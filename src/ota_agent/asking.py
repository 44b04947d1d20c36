"""How the process with the admin port asks the workers what is going on in them.

For each worker there is a pair of datagram sockets, made before the processes are and kept by the
one that watches them: whoever takes a dead process's place goes on with it. A question brings along
one end of a connection of its own; the worker writes its answer there and closes it, whenever it
gets to it. Who asks waits a second and goes without the answer.
"""

import asyncio
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from ota_agent.session_list import Line, Overview, SessionList

_PATIENCE_S = 0.9
# Of these, for descriptions; the rest is for their way.
_DESCRIBING_S = 0.5
# What an answer may have at most: a line is some 300 bytes, names in it have bounds.
_MOST_LINE_BYTES = 4096
_MOST_OVERVIEW_BYTES = 1 << 20
# When it was asked, of the monotonic clock; how many sessions are wanted.
_QUESTION = struct.Struct("dI")
# A worker that has hung finds questions that nobody waits for any more.
_MOST_ANSWERS_AT_ONCE = 4
_LINES_A_WRITE = 100


@dataclass(frozen=True, slots=True)
class Findings:
    """Of all workers: overviews, one of each that has answered; lines: in their order, perhaps
    fewer than there are sessions; missing: how many have not answered."""

    overviews: list[Overview] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    missing: int = 0

    @property
    def sessions(self) -> int:
        return sum(overview.sessions for overview in self.overviews)

    @property
    def firmware(self) -> list[dict[str, Any]]:
        """What any of the workers serves, each once."""
        by_digest = {
            each["sha256"]: each for overview in self.overviews for each in overview.firmware
        }
        return list(by_digest.values())

    @property
    def certificate_expiry(self) -> float | None:
        """The first to come of all that are in use."""
        known = [each.certificate_expiry for each in self.overviews]
        return min((each for each in known if each is not None), default=None)


class Source(Protocol):
    """Whom to ask."""

    async def ask(self, limit: int) -> Findings:
        """limit: how many sessions at most."""


class OwnSessions:
    """The worker is this very process."""

    def __init__(self, sessions: SessionList) -> None:
        self._sessions = sessions

    async def ask(self, limit: int) -> Findings:
        return Findings([self._sessions.overview()], await self._sessions.lines(limit))


class Channel:
    """To one worker, and its end of it. Made in the process that watches; `close` it there."""

    def __init__(self) -> None:
        self.asking, self.answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.asking.setblocking(False)
        self.answering.setblocking(False)

    def close(self) -> None:
        self.asking.close()
        self.answering.close()


class Workers:
    """All of them, over their channels."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    async def ask(self, limit: int) -> Findings:
        answers = await asyncio.gather(*(_ask(each, limit) for each in self._channels))
        found = [answer for answer in answers if answer is not None]
        lines = sorted((line for _, lines in found for line in lines), key=lambda line: line[:2])
        overviews = [overview for overview, _ in found]
        return Findings(overviews, lines[:limit], len(answers) - len(found))


async def _ask(channel: Channel, limit: int) -> tuple[Overview, list[Line]] | None:
    """None without an answer in time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        try:
            question = _QUESTION.pack(time.monotonic(), limit)
            socket.send_fds(channel.asking, [question], [theirs.fileno()])
            theirs.close()
            async with asyncio.timeout(_PATIENCE_S):
                return _decode(await _read_all(ours, limit))
        except (OSError, ValueError):  # TimeoutError is one of them
            return None


async def _read_all(sock: socket.socket, limit: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray()
    while piece := await loop.sock_recv(sock, 1 << 18):
        received += piece
        if len(received) > _MOST_OVERVIEW_BYTES + limit * _MOST_LINE_BYTES:
            raise ValueError("more than an answer can have")
    return bytes(received)


def _decode(answer: bytes) -> tuple[Overview, list[Line]]:
    """Raises ValueError for what is no whole answer."""
    head, *lines = answer.split(b"\n")
    if lines.pop() != b".":
        raise ValueError("it ends before its end")
    return Overview.decode(head), [_line_of(line) for line in lines]


def _line_of(text: bytes) -> Line:
    order, began, described = text.split(b" ", 2)
    return int(order), float(began), described


class Answering:
    """A worker's side, in its event loop until `close`."""

    def __init__(self, channel: Channel, sessions: SessionList) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = channel.answering
        self._sessions = sessions
        self._answers: set[asyncio.Task[None]] = set()
        self._loop.add_reader(self._socket.fileno(), self._take)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        for task in self._answers:
            task.cancel()

    def _take(self) -> None:
        """One question a turn."""
        try:
            question, descriptors, _, _ = socket.recv_fds(self._socket, _QUESTION.size, 1)
        except OSError:
            return
        for descriptor in descriptors:
            answer = socket.socket(fileno=descriptor)
            asked, limit = _QUESTION.unpack(question)
            is_late = time.monotonic() - asked > _PATIENCE_S
            if is_late or len(self._answers) >= _MOST_ANSWERS_AT_ONCE:
                answer.close()
                continue
            task = self._loop.create_task(self._answer(answer, limit))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, sock: socket.socket, limit: int) -> None:
        with sock, suppress(OSError):
            sock.setblocking(False)
            async with asyncio.timeout(_PATIENCE_S):
                head = self._sessions.overview().encode() + b"\n"
                lines = await self._sessions.lines(limit, _DESCRIBING_S)
                await self._loop.sock_sendall(sock, head)
                for at in range(0, len(lines), _LINES_A_WRITE):
                    some = lines[at : at + _LINES_A_WRITE]
                    text = b"".join(b"%d %r %b\n" % line for line in some)
                    await self._loop.sock_sendall(sock, text)
                await self._loop.sock_sendall(sock, b".")
