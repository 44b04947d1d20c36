import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dice_auth.administering import FAST, Administered, administered
from tests.dice_auth.redis_peer import RedisPeer


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisPeer]:
    peer = RedisPeer(tmp_path_factory.mktemp("redis"))
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def redis_peer(redis_process: RedisPeer) -> RedisPeer:
    """The shared server, empty."""
    redis_process.run("FLUSHALL")
    return redis_process


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture(params=["sqlite", "redis"])
def registry_url(request: pytest.FixtureRequest) -> str:
    """Each test that takes this runs against both backends."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("redis_peer").url)


@pytest.fixture(scope="module")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administered]:
    folder = tmp_path_factory.mktemp("administered")
    with administered(f"sqlite:///{folder}/registry.db", folder, *FAST) as found:
        yield found


@pytest.fixture
def sqlite_administration(sqlite_server: Administered) -> Administered:
    """A server with the admin API that a module's tests share, without boards."""
    path = sqlite_server.tokens.path.parent / "registry.db"
    connection = sqlite3.connect(path)
    with connection:
        for table in ("boards", "revocations", "observations"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    return sqlite_server


@pytest.fixture(scope="module")
def redis_server(
    redis_process: RedisPeer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Administered]:
    with administered(redis_process.url, tmp_path_factory.mktemp("administered"), *FAST) as found:
        yield found


@pytest.fixture
def redis_administration(redis_peer: RedisPeer, redis_server: Administered) -> Administered:
    """As `sqlite_administration`."""
    return redis_server
