import asyncio
from pathlib import Path

import pytest

from dice_auth.errors import RegistryError, RegistryUrlError
from dice_auth.redis_registry import RedisRegistry
from dice_auth.registry_url import open_registry
from dice_auth.sqlite_registry import SqliteRegistry


def test_a_sqlite_url_with_three_slashes_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_registry("sqlite:///./x.db"), SqliteRegistry)
    open_registry("sqlite:///y.db")
    assert (tmp_path / "x.db").is_file()
    assert (tmp_path / "y.db").is_file()


def test_a_sqlite_url_with_four_slashes_is_absolute(tmp_path: Path) -> None:
    open_registry(f"sqlite:///{tmp_path}/x.db")
    assert (tmp_path / "x.db").is_file()


def test_a_missing_sqlite_file_is_an_error_where_it_is_not_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such file"):
        open_registry(f"sqlite:///{tmp_path}/x.db", create=False)
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost", "redis://localhost:6379", "redis://h:1/3", "rediss://localhost",
        "rediss://h:1/3",
    ],
)  # fmt: skip
def test_a_redis_url_opens_without_a_connection(url: str) -> None:
    async def run() -> None:
        async with open_registry(url) as registry:
            assert isinstance(registry, RedisRegistry)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "", "registry.db", "sqlite:", "sqlite://", "sqlite:///", "sqlite://registry.db",
        "sqlite:///dir/", "redis:", "redis://", "redis://:6379", "redis://host:port",
        "redis://host:99999", "redis://host/name", "redis://host/0?db=1", "postgres://host/db",
        "redis://[::1", "redis://h?ca=f", "rediss://h/name", "rediss://h?ca=", "rediss://h?ca",
        "rediss://h?ca=f&ca=f", "rediss://h?db=1", "rediss://h?key=f", "rediss://h?&", "rediss://h#f",
    ],
)  # fmt: skip
def test_a_wrong_url_is_a_one_line_error(url: str) -> None:
    with pytest.raises(RegistryUrlError) as raised:
        open_registry(url)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redisx://u:sesame@host?x=sesame", "redis://u:sesame@host:x",
        "rediss://u:sesame@host?password=sesame",
    ],
)  # fmt: skip
def test_a_password_in_a_wrong_url_is_not_shown(url: str) -> None:
    with pytest.raises(RegistryUrlError) as raised:
        open_registry(url)
    assert "sesame" not in str(raised.value)
