import asyncio
import sqlite3
from pathlib import Path

import pytest

from dice_auth.errors import RegistryError
from dice_auth.registry import Revocation
from dice_auth.sqlite_registry import SqliteRegistry
from tests.dice_auth.boards import board

FIRST, SECOND = board(1), board(2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


def test_the_file_is_in_write_ahead_mode_and_carries_a_schema_version(path: Path) -> None:
    SqliteRegistry(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_a_file_of_the_first_version_is_brought_up_to_date_with_its_boards(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE boards (id TEXT PRIMARY KEY, key_id BLOB NOT NULL UNIQUE,"
        " root BLOB NOT NULL) WITHOUT ROWID; PRAGMA user_version = 1"
    )
    connection.execute(
        "INSERT INTO boards VALUES (?, ?, ?)", (FIRST.board_id, FIRST.key_id, FIRST.root)
    )
    connection.commit()
    connection.close()

    async def run() -> None:
        async with SqliteRegistry(path) as registry:
            record = await registry.get(FIRST.board_id)
            assert record is not None
            assert (record.root, record.state, record.enrolled_at) == (FIRST.root, "active", None)
            assert await registry.root_by_key_id(FIRST.key_id) is not None
            assert await registry.revoke(FIRST.board_id, Revocation("lost", 1))

    asyncio.run(run())


def test_a_file_that_is_no_database_is_a_one_line_error(path: Path) -> None:
    path.write_bytes(b"these are not the tables you are looking for" * 100)
    with pytest.raises(RegistryError, match="not a database") as raised:
        SqliteRegistry(path)
    assert "\n" not in str(raised.value)


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    SqliteRegistry(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RegistryError, match="schema version 99"):
        SqliteRegistry(path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no directory"):
        SqliteRegistry(tmp_path / "missing" / "registry.db")


def test_a_directory_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError):
        SqliteRegistry(tmp_path)


def test_another_process_enrolling_is_seen_at_once(path: Path) -> None:
    async def run() -> None:
        async with SqliteRegistry(path) as server, SqliteRegistry(path) as command:
            assert await server.get(FIRST.board_id) is None
            await command.enrol(FIRST.board_id, FIRST.root)
            assert await server.get(FIRST.board_id) is not None
            await command.remove(FIRST.board_id)
            assert await server.get(FIRST.board_id) is None

    asyncio.run(run())


def test_lookups_go_on_while_another_process_holds_the_write_lock(path: Path) -> None:
    async def run() -> None:
        async with SqliteRegistry(path) as registry:
            await registry.enrol(FIRST.board_id, FIRST.root)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            assert await registry.root_by_key_id(FIRST.key_id) is not None
            other.close()

    asyncio.run(run())


def test_a_deleted_file_is_a_fault_and_its_successor_is_taken_up(path: Path) -> None:
    """A board removed from the new file must not be accepted out of the old one."""

    async def run() -> None:
        async with SqliteRegistry(path) as registry:
            await registry.enrol(FIRST.board_id, FIRST.root)
            assert await registry.get(FIRST.board_id) is not None
            for file in path.parent.iterdir():
                file.unlink()
            with pytest.raises(RegistryError):
                await registry.get(FIRST.board_id)
            with pytest.raises(RegistryError):
                await registry.check()
            with pytest.raises(RegistryError):
                await registry.enrol(SECOND.board_id, SECOND.root)
            async with SqliteRegistry(path) as successor:
                await successor.enrol(SECOND.board_id, SECOND.root)
            assert await registry.get(FIRST.board_id) is None
            assert await registry.get(SECOND.board_id) is not None

    asyncio.run(run())


def test_concurrent_enrolments_all_arrive(path: Path) -> None:
    async def run() -> None:
        async with SqliteRegistry(path) as one, SqliteRegistry(path) as two:
            await asyncio.gather(
                *(
                    (one if number % 2 else two).enrol(board(number).board_id, board(number).root)
                    for number in range(1, 6)
                )
            )
            assert len([record async for record in one.boards()]) == 5

    asyncio.run(run())
