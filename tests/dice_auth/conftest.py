from collections.abc import Iterator
from pathlib import Path

import pytest

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
