"""The registry in one SQLite file, in write-ahead mode: readers and a writer never wait for
each other, and any number of processes may use it."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from dice_auth import sqlite_batch
from dice_auth.enrolment import Enrolment
from dice_auth.errors import MissingRegistryError, RegistryError, StaleRevisionError
from dice_auth.registry import (
    BoardRecord,
    EnrolledRoot,
    Observation,
    Page,
    Progress,
    Registry,
    Revisions,
    Revocation,
)
from dice_auth.sqlite_nonces import SqliteNonces
from dice_auth.sqlite_schema import migrate

_WRITE_BUSY_S = 5.0
# A lookup runs on the event loop, so it never waits inside SQLite: a file that is locked (by
# its recovery after a crash, or by somebody's exclusive lock) is asked again a little later.
_READ_BUSY_S = 0
_READ_PAUSE_S = 0.02
_READ_ATTEMPTS = 25
_EMPTY_LOG_BUSY_MS = 100
_PAGE_ROWS = 500

# UnicodeDecodeError: SQLite's message may hold a piece of a damaged file.
_FAULTS = (sqlite3.Error, OSError, UnicodeDecodeError)

_Row = tuple[Any, ...]
_T = TypeVar("_T")

_FIND_ROOT = (
    "SELECT boards.id, boards.root, revocations.key_id IS NOT NULL FROM boards"
    " LEFT JOIN revocations USING (key_id) WHERE boards.key_id = ?"
)
_RECORDS = (
    "SELECT id, root, boards.key_id, application, labels, reason, revoked_at, enrolled_at,"
    " first_seen, last_seen, last_verdict, last_version FROM boards"
    " LEFT JOIN revocations USING (key_id)"
    " LEFT JOIN observations ON observations.board_id = boards.id "
)
_PAGE = _RECORDS + "WHERE id > ? ORDER BY id LIMIT ?"
_OBSERVE = """
    INSERT INTO observations (board_id, first_seen, last_seen, last_verdict, last_version)
    SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM boards WHERE id = ?1)
    ON CONFLICT (board_id) DO UPDATE SET
        first_seen = coalesce(first_seen, excluded.first_seen),
        last_seen = coalesce(excluded.last_seen, last_seen),
        last_verdict = excluded.last_verdict,
        last_version = coalesce(excluded.last_version, last_version)
"""


class SqliteRegistry(Registry):
    """path: the file. create: make it if it is not there. Raises RegistryError."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._path = path
        self._reader: sqlite3.Connection | None = None
        self._reader_file: tuple[int, int] | None = None
        self._writing = asyncio.Lock()
        self._nonces = SqliteNonces(self._write)
        if not create and not path.exists():
            raise MissingRegistryError(f"registry {path}: no such file")
        if not path.parent.is_dir():
            raise MissingRegistryError(f"registry {path}: no directory {path.parent}")
        with self._faults(), _connect(path) as connection:
            migrate(connection)

    async def enrol_all(
        self,
        boards: Iterable[Enrolment],
        *,
        replace: bool = False,
        update: bool = True,
        progress: Progress = lambda count: None,
    ) -> int:
        def enrol() -> int:
            with self._writer() as connection:
                sqlite_batch.collect(connection, boards, progress)
                with _transaction(connection):
                    return sqlite_batch.take_over(connection, replace, update)

        async with self._writing:
            return await asyncio.to_thread(enrol)

    async def change(
        self,
        board_id: str,
        edit: Callable[[BoardRecord], Enrolment],
        *,
        revisions: Revisions = None,
    ) -> BoardRecord | None:
        def work(connection: sqlite3.Connection) -> BoardRecord | None:
            found = _find_record(connection, board_id)
            _check_revision(board_id, found, revisions)
            if found is None:
                return None
            sqlite_batch.change(connection, found, edit(found))
            return _find_record(connection, board_id)

        return await self._write(work)

    async def remove(self, board_id: str, *, revisions: Revisions = None) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if revisions is not None:
                _check_revision(board_id, _find_record(connection, board_id), revisions)
            bound = (_bound(board_id),)
            connection.execute("DELETE FROM observations WHERE board_id = ?", bound)
            return connection.execute("DELETE FROM boards WHERE id = ?", bound).rowcount > 0

        return await self._write(work)

    async def revoke(
        self, board_id: str, revocation: Revocation, *, revisions: Revisions = None
    ) -> Revocation | None:
        def work(connection: sqlite3.Connection) -> Revocation | None:
            found = _find_record(connection, board_id)
            _check_revision(board_id, found, revisions)
            if found is None:
                return None
            if found.revocation is not None:
                return found.revocation
            connection.execute(
                "INSERT INTO revocations (key_id, board_id, reason, revoked_at)"
                " VALUES (?, ?, ?, ?)",
                (found.key_id, board_id, revocation.reason, revocation.at),
            )
            return revocation

        return await self._write(work)

    async def reinstate(self, board_id: str, *, revisions: Revisions = None) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if revisions is not None:
                found = _find_record(connection, board_id)
                _check_revision(board_id, found, revisions)
                if found is None:
                    return False
            deleted = connection.execute(
                "DELETE FROM revocations WHERE key_id IN (SELECT key_id FROM boards WHERE id = ?1)"
                " OR key_id = (SELECT key_id FROM revocations WHERE board_id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM boards WHERE id = ?1)"
                " ORDER BY revoked_at DESC, key_id LIMIT 1)",
                (_bound(board_id),),
            )
            return deleted.rowcount > 0

        return await self._write(work)

    async def boards(self) -> AsyncIterator[BoardRecord]:
        page = await self.page("", _PAGE_ROWS)
        while True:
            for record in page.boards:
                yield record
            if not page.next:
                return
            page = await self.page(page.next, _PAGE_ROWS)

    async def page(self, start: str, limit: int) -> Page:
        rows = await self._read_rows(_PAGE, start, limit)
        boards = [_record(row) for row in rows]
        return Page(boards, boards[-1].board_id if len(boards) == limit else "")

    async def get(self, board_id: str) -> BoardRecord | None:
        rows = await self._read_rows(_RECORDS + "WHERE id = ?", _bound(board_id))
        return _record(rows[0]) if rows else None

    async def roots_by_key_ids(self, key_ids: Sequence[bytes]) -> list[EnrolledRoot | None]:
        def look(connection: sqlite3.Connection) -> list[EnrolledRoot | None]:
            # One transaction: one look at locks and log for all.
            connection.execute("BEGIN")
            try:
                return [_find_root(connection, key_id) for key_id in key_ids]
            finally:
                connection.rollback()

        return await self._read(look)

    async def record(self, observations: Iterable[Observation]) -> None:
        rows = [
            (each.board_id, each.first_seen, each.last_seen, each.verdict, each.version)
            for each in observations
        ]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_OBSERVE, rows)

        await self._write(work)

    async def issue_nonce(self, nonce: bytes) -> bool:
        return await self._nonces.issue(nonce)

    async def use_nonce(self, nonce: bytes) -> bool:
        return await self._nonces.use(nonce)

    async def check(self) -> None:
        await self._read_rows("SELECT 1 FROM boards LIMIT 1")

    async def follow(self, caught_up: Callable[[], None]) -> None:
        caught_up()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def _read_rows(self, query: str, *values: object) -> list[_Row]:
        return await self._read(lambda connection: connection.execute(query, values).fetchall())

    async def _read(self, look: Callable[[sqlite3.Connection], _T]) -> _T:
        for _ in range(_READ_ATTEMPTS):
            try:
                return look(self._open_reader())
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise self._fault(error) from error
            except _FAULTS as error:
                raise self._fault(error) from error
            await asyncio.sleep(_READ_PAUSE_S)
        raise RegistryError(f"registry {self._path}: database is locked")

    def _open_reader(self) -> sqlite3.Connection:
        """The connection for lookups, opened anew if another file has taken the path.

        SQLite itself would go on answering from a file that has been deleted: boards removed
        from its successor would still be accepted.
        """
        found = os.stat(self._path)
        if self._reader is None or self._reader_file != (found.st_dev, found.st_ino):
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            uri = self._path.absolute().as_uri() + "?mode=ro"
            self._reader = sqlite3.connect(
                uri, uri=True, timeout=_READ_BUSY_S, isolation_level=None
            )
            self._reader_file = (found.st_dev, found.st_ino)
        return self._reader

    async def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns, done in one transaction and in another thread."""

        def run() -> _T:
            with self._writer() as connection, _transaction(connection):
                return work(connection)

        async with self._writing:
            return await asyncio.to_thread(run)

    @contextmanager
    def _writer(self) -> Iterator[sqlite3.Connection]:
        """A short-lived connection for writing, to the file as long as it is there."""
        with self._faults():
            os.stat(self._path)
            with _connect(self._path) as connection:
                yield connection
                _empty_log(connection)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> RegistryError:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return RegistryError(f"registry {self._path}: {reason}")


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=_WRITE_BUSY_S, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Committed at its end, undone if an error passes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move everything from the log into the file, unless others are at work: then the next does.

    SQLite applies what is in a log to whatever file is beside it. Of a backup that is moved to
    the registry's place, boards that it does not hold would be accepted.
    """
    connection.execute(f"PRAGMA busy_timeout = {_EMPTY_LOG_BUSY_MS}")
    with suppress(sqlite3.Error):  # what was written is in the log, and safe there
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # One of Python's own, as of text that is not UTF-8, has no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _find_root(connection: sqlite3.Connection, key_id: bytes) -> EnrolledRoot | None:
    row = connection.execute(_FIND_ROOT, (key_id,)).fetchone()
    if row is None:
        return None
    board_id, root, is_revoked = row
    if not isinstance(board_id, str) or not isinstance(root, bytes):
        raise sqlite3.DatabaseError("a board's row is damaged")
    return EnrolledRoot(board_id, root, is_revoked == 1)


def _bound(board_id: str) -> str | bytes:
    """As SQLite takes it. What is not UTF-8 is nobody's id: bytes equal no text."""
    try:
        board_id.encode()
    except UnicodeEncodeError:
        return board_id.encode("utf-8", "surrogateescape")
    return board_id


def _find_record(connection: sqlite3.Connection, board_id: str) -> BoardRecord | None:
    row = connection.execute(_RECORDS + "WHERE id = ?", (_bound(board_id),)).fetchone()
    return None if row is None else _record(row)


def _check_revision(board_id: str, found: BoardRecord | None, revisions: Revisions) -> None:
    """Raises StaleRevisionError unless it is one of these, or none is asked for."""
    if revisions is not None and found is not None and found.revision not in revisions:
        raise StaleRevisionError(f"{board_id} has been changed meanwhile")


def _record(row: _Row) -> BoardRecord:
    board_id, root, key_id, application, labels, reason, revoked_at, *seen = row
    return BoardRecord(
        board_id,
        root,
        key_id,
        application,
        json.loads(labels) if labels else {},
        None if reason is None else Revocation(reason, revoked_at),
        *seen,
    )
