"""`submit --csv` killed at any moment, and two at once: a batch is enrolled whole or not at all."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.dice_auth.redis_peer import RedisPeer
from tests.dice_auth.server_process import COMMAND

BOARDS = 2000
KILLS = 6

# The part of the boards' roots that is asked for, a line each.
_DERIVE = """
import random, sys
from base64 import b64encode
import dice
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    root = dice.root_certificate(random.Random(number).randbytes(32))
    print(b64encode(root).decode())
"""


@pytest.fixture(scope="module")
def roots() -> list[str]:
    """Of provisioned boards, base64; derived by two processes."""
    middle = BOARDS // 2
    parts = [
        subprocess.Popen(
            [sys.executable, "-c", _DERIVE, str(first), str(first + middle)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, middle)
    ]
    return [line for part in parts for line in part.communicate()[0].splitlines()]


def write_batch(path: Path, boards: Sequence[tuple[str, str]]) -> Path:
    path.write_text("\n".join(["id,root", *(f"{name},{root}" for name, root in boards), ""]))
    return path


def submit(url: str, batch: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "submit", "--registry", url, "--csv", batch],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def count(url: str, request: pytest.FixtureRequest) -> int:
    if url.startswith("redis:"):
        peer: RedisPeer = request.getfixturevalue("redis_peer")
        return int(str(peer.run("DBSIZE")))
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        if ("boards",) not in tables:
            return 0
        return int(connection.execute("SELECT count(*) FROM boards").fetchone()[0])


def forget_all(url: str, request: pytest.FixtureRequest) -> None:
    if url.startswith("redis:"):
        request.getfixturevalue("redis_peer").run("FLUSHALL")
    else:
        for path in Path(url.removeprefix("sqlite:///")).parent.glob("registry.db*"):
            path.unlink()


def check_whole(url: str) -> None:
    """The database itself: nothing half written, nothing that stays for ever."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_batch_killed_at_any_moment_is_enrolled_whole_or_not_at_all(
    registry_url: str, request: pytest.FixtureRequest, tmp_path: Path, roots: list[str]
) -> None:
    batch = write_batch(
        tmp_path / "batch.csv", [(f"board-{number}", root) for number, root in enumerate(roots)]
    )
    started = time.monotonic()
    with submit(registry_url, batch) as process:
        assert process.wait(30) == 0
    whole_s = time.monotonic() - started
    assert count(registry_url, request) == BOARDS

    seed = random.Random().randrange(1 << 32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    for _ in range(KILLS):
        forget_all(registry_url, request)
        with submit(registry_url, batch) as process:
            try:
                # The first third goes into starting Python.
                process.wait(whole_s * chosen.uniform(0.3, 1.0))
            except subprocess.TimeoutExpired:
                process.kill()
        assert count(registry_url, request) in (0, BOARDS)
        check_left_overs(registry_url, request)
    with submit(registry_url, batch) as process:
        assert process.wait(30) == 0
    assert count(registry_url, request) == BOARDS
    check_whole(registry_url)


def check_left_overs(url: str, request: pytest.FixtureRequest) -> None:
    """What a killed batch leaves in Redis goes by itself; beside the file there is nothing."""
    if url.startswith("redis:"):
        peer: RedisPeer = request.getfixturevalue("redis_peer")
        keys = peer.run("KEYS", "dice-auth:batch:*", database=1)
        assert isinstance(keys, list)
        assert all(int(str(peer.run("TTL", key, database=1))) > 0 for key in keys)
    else:
        folder = Path(url.removeprefix("sqlite:///")).parent
        names = {name for name in os.listdir(folder) if name != "batch.csv"}
        assert names <= {"registry.db", "registry.db-wal", "registry.db-shm"}


@pytest.mark.parametrize(
    "overlap", ["same board", "same root, another id", "same id, another root"]
)
def test_two_batches_at_once_that_share_a_board(
    registry_url: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    roots: list[str],
    overlap: str,
) -> None:
    half = BOARDS // 4
    boards = [(f"board-{number}", root) for number, root in enumerate(roots[: 2 * half])]
    shared = {
        "same board": boards[0],
        "same root, another id": ("other", roots[0]),
        "same id, another root": ("board-0", roots[-1]),
    }[overlap]
    first = write_batch(tmp_path / "first.csv", boards[:half])
    second = write_batch(tmp_path / "second.csv", [*boards[half:], shared])
    with submit(registry_url, first) as one, submit(registry_url, second) as two:
        outcomes = [
            (process.communicate(timeout=30)[1], process.returncode) for process in (one, two)
        ]
    found = count(registry_url, request)
    if overlap == "same board":
        assert outcomes == [("", 0), ("", 0)]
        assert found == 2 * half
        return
    ((message, code),) = [outcome for outcome in outcomes if outcome != ("", 0)]
    assert code == 1
    assert "already enrolled" in message
    assert message.count("\n") == 1
    assert found in (half, half + 1)
    # Which of them it was, and again: the same answer, nothing changed.
    with submit(registry_url, second if found == half else first) as again:
        assert again.wait(30) == 1
    assert count(registry_url, request) == found
