"""Challenges in SQLite.

A transaction takes milliseconds, most of them for the disk: those that are asked for while one is
being written share the next.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from functools import partial

from dice_auth import registry
from dice_auth.errors import RegistryError

# One that ends later than any issued now is of a clock that has been set back since.
_FORGET = "DELETE FROM nonces WHERE expires_at <= ? OR expires_at > ?"
_ISSUE = """
    INSERT INTO nonces (nonce, expires_at)
    SELECT ?1, ?2 WHERE (SELECT count(*) FROM nonces) < ?3
"""
_USE = "DELETE FROM nonces WHERE nonce = ? AND expires_at > ? AND expires_at <= ?"

_Work = Callable[[sqlite3.Connection], bool]
_Works = Callable[[sqlite3.Connection], list[bool]]


class SqliteNonces:
    """write: does a work in one transaction; raises RegistryError."""

    def __init__(self, write: Callable[[_Works], Awaitable[list[bool]]]) -> None:
        self._write = write
        self._waiting: list[tuple[_Work, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def issue(self, nonce: bytes) -> bool:
        """As `Registry.issue_nonce`."""

        def work(connection: sqlite3.Connection) -> bool:
            now, latest = _times()
            connection.execute(_FORGET, (now, latest))
            issued = connection.execute(_ISSUE, (nonce, latest, registry.MOST_NONCES))
            return issued.rowcount == 1

        return await self._do(work)

    async def use(self, nonce: bytes) -> bool:
        """As `Registry.use_nonce`."""

        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute(_USE, (nonce, *_times())).rowcount == 1

        return await self._do(work)

    async def _do(self, work: _Work) -> bool:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await done

    async def _write_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                results = await self._write(partial(_do_all, [work for work, _ in taken]))
            except BaseException as error:
                for _, done in taken:
                    _fail(done, error)
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, done), result in zip(taken, results, strict=True):
                    if not done.done():
                        done.set_result(result)


def _do_all(works: list[_Work], connection: sqlite3.Connection) -> list[bool]:
    return [work(connection) for work in works]


def _fail(done: asyncio.Future[bool], error: BaseException) -> None:
    if done.done():
        return
    if isinstance(error, RegistryError):
        done.set_exception(RegistryError(str(error)))
    elif isinstance(error, Exception):
        done.set_exception(error)
    else:
        done.cancel()


def _times() -> tuple[int, int]:
    """Now, and when a nonce issued now ends: milliseconds since 1970."""
    now = time.time_ns() // 1_000_000
    return now, now + registry.NONCE_LIFETIME_S * 1000
