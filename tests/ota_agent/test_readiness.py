"""Sockets and who is told of them: real ones, in a running event loop."""

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from ota_agent.readiness import HUNG_UP, READ, WRITE, Readiness

Told = Callable[[], Awaitable[int]]


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends that do not block."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


@asynccontextmanager
async def readiness() -> AsyncIterator[Readiness]:
    made = Readiness()
    try:
        yield made
    finally:
        made.close()


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self, events: int) -> None:
        self._news.put_nowait(events)

    async def next(self) -> int:
        return await asyncio.wait_for(self._news.get(), 2)

    @property
    def has_news(self) -> bool:
        return not self._news.empty()


async def turns(count: int = 5) -> None:
    """So many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_an_owner_is_told_of_data_room_and_the_end() -> None:
    async def run() -> None:
        async with readiness() as ready:
            with pair() as (near, far):
                owner = Owner()
                ready.add(near.fileno(), owner)
                # New, it can be written.
                events = await owner.next()
                assert events & WRITE
                assert not events & (READ | HUNG_UP)
                far.send(b"x")
                events = await owner.next()
                assert events & READ
                assert not events & HUNG_UP
                far.shutdown(socket.SHUT_WR)
                assert await owner.next() & HUNG_UP
                ready.remove(near.fileno())

    asyncio.run(run())


def test_data_that_was_there_before_is_told() -> None:
    async def run() -> None:
        async with readiness() as ready:
            with pair() as (near, far):
                far.send(b"x")
                far.close()
                owner = Owner()
                ready.add(near.fileno(), owner)
                events = await owner.next()
                assert events & READ
                assert events & HUNG_UP
                ready.remove(near.fileno())

    asyncio.run(run())


def test_an_owner_that_does_nothing_is_not_told_again_until_there_is_news() -> None:
    """Else thousands of slow boards would keep the event loop turning."""

    async def run() -> None:
        async with readiness() as ready:
            with pair() as (near, far):
                owner = Owner()
                ready.add(near.fileno(), owner)
                far.send(b"x")
                await owner.next()
                await turns(20)
                assert not owner.has_news
                far.send(b"y")
                assert await owner.next() & READ
                ready.remove(near.fileno())

    asyncio.run(run())


def test_room_is_told_after_the_socket_was_full() -> None:
    async def run() -> None:
        async with readiness() as ready:
            with pair() as (near, far):
                owner = Owner()
                ready.add(near.fileno(), owner)
                await owner.next()
                sent = 0
                with pytest.raises(BlockingIOError):  # noqa: PT012
                    while True:
                        sent += near.send(bytes(65536))
                await turns()
                assert not owner.has_news
                while sent:
                    sent -= len(far.recv(65536))
                assert await owner.next() & WRITE
                ready.remove(near.fileno())

    asyncio.run(run())


def test_nobody_is_told_after_remove_not_even_of_what_was_pending() -> None:
    async def run() -> None:
        async with readiness() as ready:
            with pair() as (near, far):
                owner = Owner()
                ready.add(near.fileno(), owner)
                far.send(b"x")
                ready.remove(near.fileno())
                far.close()
                await turns()
                assert not owner.has_news
                ready.remove(near.fileno())

    asyncio.run(run())


def test_an_owner_may_remove_itself_and_others_while_it_is_told() -> None:
    """Of all that are ready at once the first removes everybody: nobody else is told."""

    async def run() -> None:
        async with readiness() as ready:
            pairs = [socket.socketpair() for _ in range(20)]
            told: list[int] = []

            def remove_all(events: int) -> None:
                told.append(events)
                for near, _ in pairs:
                    ready.remove(near.fileno())

            for near, far in pairs:
                far.send(b"x")
                ready.add(near.fileno(), remove_all)
            await turns()
            assert len(told) == 1
            for near, far in pairs:
                near.close()
                far.close()

    asyncio.run(run())


def test_a_descriptor_that_is_used_again_has_its_new_owner_alone() -> None:
    async def run() -> None:
        async with readiness() as ready:
            first, second = Owner(), Owner()
            with pair() as (near, _):
                number = near.fileno()
                ready.add(number, first)
                await first.next()
                ready.remove(number)
            with pair() as (near, far):
                assert near.fileno() == number
                ready.add(number, second)
                far.send(b"x")
                assert await second.next() & READ
                assert not first.has_news
                ready.remove(number)

    asyncio.run(run())


def test_more_sockets_than_are_told_of_at_once_are_all_told() -> None:
    """And the event loop has its turn in between."""

    async def run() -> None:
        async with readiness() as ready:
            pairs = [socket.socketpair() for _ in range(1500)]
            told: set[int] = set()
            for near, far in pairs:
                far.send(b"x")
                number = near.fileno()
                ready.add(number, lambda events, number=number: told.add(number))
            seen = []
            async with asyncio.timeout(5):
                while len(told) < len(pairs):
                    await asyncio.sleep(0)
                    seen.append(len(told))
            assert len(set(seen)) > 2
            for near, far in pairs:
                ready.remove(near.fileno())
                near.close()
                far.close()

    asyncio.run(run())


def test_a_descriptor_that_cannot_be_waited_for_leaves_nothing_behind() -> None:
    """Nor does one for which the kernel has no room (fs.epoll.max_user_watches): a connection
    would never be closed that its session's owner holds here."""

    class Session:
        def ready(self, events: int) -> None:
            raise AssertionError("never added")

    async def run() -> None:
        async with readiness() as ready:
            session = Session()
            gone = weakref.ref(session)
            with open(os.devnull, "rb") as file, pytest.raises(PermissionError):
                ready.add(file.fileno(), session.ready)
            del session
            gc.collect()
            assert gone() is None

    asyncio.run(run())
