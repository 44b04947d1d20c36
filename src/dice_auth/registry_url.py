"""From a registry's URL to the registry.

sqlite:///registry.db           relative to the working directory
sqlite:////var/lib/registry.db  absolute (as SQLAlchemy writes it)
redis://HOST[:6379][/DB]        the originals' database; ours beside it in DB + 1
"""

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from dice_auth.errors import RegistryUrlError
from dice_auth.redis_registry import RedisRegistry
from dice_auth.registry import Registry
from dice_auth.sqlite_registry import SqliteRegistry

_FORMS = "sqlite:///PATH or redis://HOST:6379[/DB]"


def open_registry(url: str, *, create: bool = True) -> Registry:
    """The registry at the URL.

    create: make the SQLite file if there is none; otherwise a missing one is a RegistryError.
    A Redis that does not answer shows at the first operation, not here, so that a server may
    start before its database.
    Raises RegistryUrlError for a URL of no known form, RegistryError for a file that cannot be
    opened.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RegistryUrlError(f"registry {_without_password(url)}: {error}") from error
    if parts.scheme == "sqlite":
        return SqliteRegistry(_sqlite_path(url, parts), create=create)
    if parts.scheme == "redis":
        return RedisRegistry(
            parts.hostname or _missing_host(),
            6379 if port is None else port,
            database=_redis_database(parts),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )
    raise RegistryUrlError(f"registry {_without_password(url)}: expected {_FORMS}")


def _sqlite_path(url: str, parts: SplitResult) -> Path:
    # Not parts.path: `?` and `#` may stand in a file's name, and there are no options.
    path = url.partition("://")[2]
    if parts.netloc or not path.startswith("/") or len(path) < 2 or path.endswith("/"):
        raise RegistryUrlError(f"registry {_without_password(url)}: expected {_FORMS}")
    return Path(path[1:])


def _redis_database(parts: SplitResult) -> int:
    name = parts.path.strip("/")
    if parts.query or parts.fragment or (name and not (name.isascii() and name.isdecimal())):
        raise RegistryUrlError(f"redis registry: expected a database number, found {name!r}")
    return int(name or "0")


def _missing_host() -> str:
    raise RegistryUrlError(f"redis registry: no host; expected {_FORMS}")


def _without_password(url: str) -> str:
    """The URL as errors may show it."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return repr(scheme + separator + authority.rpartition("@")[2] + slash + path)
