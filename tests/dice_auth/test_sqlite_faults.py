"""The registry's file is locked, gone, replaced or damaged while requests flow: 503 with
Retry-After or the right answer, and recovery without a restart."""

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dice_auth import sqlite_registry
from dice_auth.errors import RegistryError
from dice_auth.registry import Revocation
from dice_auth.registry_url import open_registry
from ota_cli.command_line import run as command
from tests.dice_auth.asking import answered, ask, asking
from tests.dice_auth.boards import board
from tests.dice_auth.test_server import Address, running

ENROLLED, STRANGER, REVOKED, OTHER = board(1), board(2), board(3), board(4)
RECOVERY_S = 1.0

# A writer died within its commit, and another process is at recovery: the log's index is not valid
# (its head, 96 bytes) and all of its locks (bytes 120 to 127) are taken. Source: SQLite, walformat.
_RECOVER_LOG = """
import fcntl, sys
file = open(sys.argv[1] + "-shm", "r+b", buffering=0)
fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
file.write(bytes(96))
print("locked", flush=True)
sys.stdin.read()
"""
# In a file with a rollback journal a writer that commits keeps readers out.
_LOCK_FILE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
_LOCK_WRITES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A registry with one board, and one that is revoked."""
    path = tmp_path / "registry.db"
    asyncio.run(fill(path))
    return path


async def fill(path: Path) -> None:
    async with open_registry(f"sqlite:///{path}") as registry:
        await registry.enrol(ENROLLED.board_id, ENROLLED.root)
        await registry.enrol(REVOKED.board_id, REVOKED.root)
        await registry.revoke(REVOKED.board_id, Revocation("stolen", 1))


@contextmanager
def locked(program: str, path: Path) -> Iterator[None]:
    """By another process, until the block ends; it dies with its lock in its hand."""
    with subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if process.stdout.readline() != "locked\n":
                raise RuntimeError(process.stderr.read())
            yield
        finally:
            process.kill()


def with_server(path: Path, work: Callable[[Address], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), running(f"sqlite:///{path}") as address:
            await work(address)

    asyncio.run(run())


async def check_answers(address: Address) -> None:
    for each, status in ((ENROLLED, 200), (STRANGER, 401), (REVOKED, 401)):
        assert await ask(address, each.pem) == status


def test_a_log_that_is_locked_is_503_for_all_who_ask_and_no_queue_grows(path: Path) -> None:
    async def work(address: Address) -> None:
        await check_answers(address)
        for _ in range(2):
            with locked(_RECOVER_LOG, path):
                async with asyncio.timeout(2):
                    statuses = await asyncio.gather(
                        *(ask(address, ENROLLED.pem) for _ in range(300))
                    )
                assert set(statuses) == {503}
            await answered(address, ENROLLED.pem, 200, RECOVERY_S)
            await check_answers(address)

    with_server(path, work)


def test_a_file_that_is_locked_exclusively_is_503(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")

    async def work(address: Address) -> None:
        await check_answers(address)
        for _ in range(2):
            with locked(_LOCK_FILE, path):
                assert await ask(address, ENROLLED.pem) == 503
                assert await ask(address, STRANGER.pem) == 503
            await answered(address, ENROLLED.pem, 200, RECOVERY_S)
            await check_answers(address)

    with_server(path, work)


def test_a_file_that_somebody_opened_for_himself_alone_is_503(path: Path) -> None:
    async def work(address: Address) -> None:
        with locked(_LOCK_FILE, path):  # in write-ahead mode too, unless others read already
            assert await ask(address, ENROLLED.pem) == 503
        await answered(address, ENROLLED.pem, 200, RECOVERY_S)

    with_server(path, work)


def test_a_lock_for_a_moment_delays_and_nothing_else(path: Path) -> None:
    async def work(address: Address) -> None:
        async with asking(address, ENROLLED.pem) as enrolled:
            await enrolled.next()
            with locked(_RECOVER_LOG, path):
                pass
            await enrolled.next(5)
        assert set(enrolled.statuses) == {200}

    with_server(path, work)


def test_while_another_writes_lookups_go_on_and_enrolment_says_so_in_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_registry, "_WRITE_BUSY_S", 0.3)

    async def work(address: Address) -> None:
        async with (
            asking(address, ENROLLED.pem) as enrolled,
            open_registry(f"sqlite:///{path}") as registry,
        ):
            with locked(_LOCK_WRITES, path):
                with pytest.raises(RegistryError, match="locked") as raised:
                    await registry.enrol(OTHER.board_id, OTHER.root)
                assert "\n" not in str(raised.value)
                with pytest.raises(RegistryError, match="locked"):
                    await registry.revoke(ENROLLED.board_id, Revocation("gone", 1))
                await enrolled.next(5)
            await registry.enrol(OTHER.board_id, OTHER.root)
            assert await ask(address, OTHER.pem) == 200
        assert set(enrolled.statuses) == {200}

    with_server(path, work)


def test_the_command_says_in_one_line_that_another_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sqlite_registry, "_WRITE_BUSY_S", 0.3)
    with locked(_LOCK_WRITES, path):
        assert command(["submit", OTHER.board_id, "--registry", f"sqlite:///{path}"]) == 1
    assert capsys.readouterr().err == f"ota-service: registry {path}: database is locked\n"


def test_a_file_that_is_gone_is_503_and_its_return_is_noticed(path: Path) -> None:
    async def work(address: Address) -> None:
        await check_answers(address)
        away = path.with_suffix(".away")
        for _ in range(2):
            path.rename(away)
            assert {await ask(address, each.pem) for each in (ENROLLED, STRANGER)} == {503}
            away.rename(path)
            await check_answers(address)

    with_server(path, work)


@pytest.mark.parametrize("with_log", [False, True])
def test_a_file_replaced_by_a_backup_answers_for_itself_alone(path: Path, with_log: bool) -> None:
    """Boards that the backup does not hold are not accepted out of the old file's log."""
    backup = path.with_suffix(".backup")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))

    async def work(address: Address) -> None:
        async with open_registry(f"sqlite:///{path}") as registry:
            await check_answers(address)
            for number in range(10, 60):
                await registry.enrol(board(number).board_id, board(number).root)
            await registry.remove(ENROLLED.board_id)
        assert await ask(address, ENROLLED.pem) == 401
        assert await ask(address, board(10).pem) == 200
        if not with_log:
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        os.replace(backup, path)
        await check_answers(address)
        for number in range(10, 60):
            assert await ask(address, board(number).pem) == 401

    with_server(path, work)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "no database": lambda whole: b"these are not the tables you are looking for\n" * 500,
    "the head alone": lambda whole: whole[:100],
    "half": lambda whole: whole[: len(whole) // 2],
    "zeros after the first page": lambda whole: whole[:4096] + bytes(len(whole) - 4096),
    "noise after the first page": lambda whole: (
        whole[:4096] + random.Random(1).randbytes(len(whole) - 4096)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_503_and_a_whole_one_is_taken_up(path: Path, damage: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()

    async def work(address: Address) -> None:
        await check_answers(address)
        replace(path, DAMAGE[damage](whole))
        for each in (ENROLLED, STRANGER, REVOKED):
            assert await ask(address, each.pem) == 503
        replace(path, whole)
        await check_answers(address)

    with_server(path, work)


def replace(path: Path, content: bytes) -> None:
    """As a restored backup would be put there: in one step."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def test_a_damaged_byte_anywhere_is_never_an_acceptance_nor_an_error_of_ours(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    used = [at for at, byte in enumerate(whole) if byte]
    seed = random.Random().randrange(1 << 32)
    print(f"seed {seed}")
    chosen = random.Random(seed)

    async def work(address: Address) -> None:
        for _ in range(400):
            damaged = bytearray(whole)
            at = chosen.choice(used)
            damaged[at] ^= chosen.randrange(1, 256)
            replace(path, bytes(damaged))
            for each, allowed in ((ENROLLED, (200, 401, 503)), (STRANGER, (401, 503))):
                status = await ask(address, each.pem)
                assert status in allowed, (at, damaged[at], status)

    with_server(path, work)


COLUMNS = {
    "an id that is no text": "UPDATE boards SET id = CAST(x'ff00fe' AS TEXT)",
    "an id that is a blob": "UPDATE boards SET id = x'ff00fe'",
    "a root that is text": "UPDATE boards SET root = 'root'",
    "a root that is a number": "UPDATE boards SET root = 17",
    "a root that is empty": "UPDATE boards SET root = x''",
    "a root cut short": "UPDATE boards SET root = substr(root, 1, 100)",
    "no such table": "ALTER TABLE boards RENAME TO bards",
    "no such column": "ALTER TABLE boards RENAME COLUMN root TO roof",
}


@pytest.mark.parametrize("case", COLUMNS)
def test_rows_that_are_not_ours_are_503_for_their_board_alone(path: Path, case: str) -> None:
    where = f" WHERE id = '{ENROLLED.board_id}'" if COLUMNS[case].startswith("UPDATE") else ""

    async def work(address: Address) -> None:
        await check_answers(address)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(COLUMNS[case] + where)
        others = 401 if where else 503
        # Together, so that they are judged together.
        answers = asyncio.gather(*(ask(address, STRANGER.pem) for _ in range(10)))
        assert await ask(address, ENROLLED.pem) == 503
        assert set(await answers) <= {others, 503}
        assert await ask(address, STRANGER.pem) == others

    with_server(path, work)


def test_a_copy_over_the_file_in_place_is_never_an_acceptance(path: Path, tmp_path: Path) -> None:
    """`cp backup registry.db` under a running server: not how to do it, but it is done."""
    empty = tmp_path / "empty.db"
    with closing(open_sqlite(empty)):
        pass

    async def work(address: Address) -> None:
        await check_answers(address)
        shutil.copyfile(empty, path)
        assert await ask(address, STRANGER.pem) in (401, 503)
        assert await ask(address, REVOKED.pem) in (401, 503)

    with_server(path, work)


def open_sqlite(path: Path) -> sqlite3.Connection:
    asyncio.run(open_registry(f"sqlite:///{path}").close())
    return sqlite3.connect(path)
