"""The registry in one SQLite file, in write-ahead mode: readers and a writer never wait for
each other, and any number of processes may use it."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dice_auth.errors import AlreadyEnrolledError, RegistryError
from dice_auth.registry import BoardRecord, Registry, record_to_enrol

# user_version of a file = how many of these have run on it. Append only.
_MIGRATIONS = (
    """
    CREATE TABLE boards (
        id TEXT PRIMARY KEY,
        key_id BLOB NOT NULL UNIQUE,
        root BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)
_WRITE_BUSY_S = 5.0
# A lookup runs on the event loop; in write-ahead mode it waits only while the file is recovered.
_READ_BUSY_S = 0.1
_PAGE_ROWS = 500
_COLUMNS = "SELECT id, root, key_id FROM boards "


class SqliteRegistry(Registry):
    """path: the file. create: make it if it is not there. Raises RegistryError."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._path = path
        self._reader: sqlite3.Connection | None = None
        self._reader_file: tuple[int, int] | None = None
        self._writing = asyncio.Lock()
        if not create and not path.exists():
            raise RegistryError(f"registry {path}: no such file")
        if not path.parent.is_dir():
            raise RegistryError(f"registry {path}: no directory {path.parent}")
        with self._faults(), _connect(path, _WRITE_BUSY_S) as connection:
            _migrate(connection)

    async def enrol(self, board_id: str, root_der: bytes, *, replace: bool = False) -> bool:
        record = record_to_enrol(board_id, root_der)
        async with self._writing:
            return await asyncio.to_thread(self._enrol, record, replace)

    def _enrol(self, record: BoardRecord, replace: bool) -> bool:
        with self._transaction() as connection:
            same_id = _one(connection, "WHERE id = ?", record.board_id)
            if same_id == record:
                return False
            if same_id is not None and not replace:
                raise AlreadyEnrolledError(
                    f"{record.board_id} is already enrolled, with another root certificate"
                )
            same_root = _one(connection, "WHERE key_id = ?", record.key_id)
            if same_root is not None and same_root.board_id != record.board_id:
                raise AlreadyEnrolledError(
                    f"the root certificate of {record.board_id} is already enrolled,"
                    f" as {same_root.board_id}"
                )
            connection.execute(
                "INSERT OR REPLACE INTO boards (id, root, key_id) VALUES (?, ?, ?)",
                (record.board_id, record.root, record.key_id),
            )
            return True

    async def remove(self, board_id: str) -> bool:
        async with self._writing:
            return await asyncio.to_thread(self._remove, board_id)

    def _remove(self, board_id: str) -> bool:
        with self._transaction() as connection:
            return connection.execute("DELETE FROM boards WHERE id = ?", (board_id,)).rowcount > 0

    async def boards(self) -> AsyncIterator[BoardRecord]:
        last = ""
        while True:
            with self._faults():
                page = [
                    BoardRecord(*row)
                    for row in self._read_connection().execute(
                        _COLUMNS + "WHERE id > ? ORDER BY id LIMIT ?", (last, _PAGE_ROWS)
                    )
                ]
            for record in page:
                yield record
            if len(page) < _PAGE_ROWS:
                return
            last = page[-1].board_id

    async def get(self, board_id: str) -> BoardRecord | None:
        with self._faults():
            return _one(self._read_connection(), "WHERE id = ?", board_id)

    async def root_by_key_id(self, key_id: bytes) -> BoardRecord | None:
        with self._faults():
            return _one(self._read_connection(), "WHERE key_id = ?", key_id)

    async def check(self) -> None:
        with self._faults():
            self._read_connection().execute("SELECT 1 FROM boards LIMIT 1").fetchall()

    async def follow(self, caught_up: Callable[[], None]) -> None:
        caught_up()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read_connection(self) -> sqlite3.Connection:
        """The connection for lookups, opened anew if another file has taken the path.

        SQLite itself would go on answering from a file that has been deleted: boards removed
        from its successor would still be accepted.
        """
        found = self._path.stat()
        if self._reader is None or self._reader_file != (found.st_dev, found.st_ino):
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            uri = self._path.absolute().as_uri() + "?mode=ro"
            self._reader = sqlite3.connect(uri, uri=True, timeout=_READ_BUSY_S)
            self._reader_file = (found.st_dev, found.st_ino)
        return self._reader

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A short-lived writing connection, its transaction committed unless an error passes."""
        with self._faults():
            os.stat(self._path)
            with _connect(self._path, _WRITE_BUSY_S) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise RegistryError(f"registry {self._path}: {reason}") from error


@contextmanager
def _connect(path: Path, busy_s: float) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def _migrate(connection: sqlite3.Connection) -> None:
    if _user_version(connection) == len(_MIGRATIONS):
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    version = _user_version(connection)
    if version > len(_MIGRATIONS):
        raise sqlite3.DatabaseError(
            f"schema version {version}, this program knows up to {len(_MIGRATIONS)}"
        )
    for statement in _MIGRATIONS[version:]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
    connection.commit()


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _one(connection: sqlite3.Connection, where: str, value: str | bytes) -> BoardRecord | None:
    row = connection.execute(_COLUMNS + where, (value,)).fetchone()
    return None if row is None else BoardRecord(*row)
