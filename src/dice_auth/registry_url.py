"""From a registry's URL to the registry.

sqlite:///registry.db           relative to the working directory
sqlite:////var/lib/registry.db  absolute (as SQLAlchemy writes it)
redis://HOST[:6379][/DB]        the originals' database; ours beside it in DB + 1
rediss://HOST[:6379][/DB][?ca=FILE&cert=FILE&key=FILE]   the same over TLS
"""

from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from dice_auth.errors import RegistryUrlError
from dice_auth.redis_registry import RedisRegistry
from dice_auth.redis_tls import TlsFiles
from dice_auth.registry import Registry
from dice_auth.sqlite_registry import SqliteRegistry

_FORMS = "sqlite:///PATH, redis://HOST:6379[/DB] or rediss://HOST:6379[/DB][?ca=FILE]"
_TLS_FILES = ("ca", "cert", "key")


def open_registry(url: str, *, create: bool = True) -> Registry:
    """The registry at the URL.

    create: make the SQLite file if there is none; otherwise a missing one is a RegistryError.
    A Redis that does not answer shows at the first operation, not here, so that a server may
    start before its database.
    Raises RegistryUrlError for a URL of no known form, RegistryError for a file that cannot be
    opened, or that TLS cannot be spoken with.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RegistryUrlError(f"registry {_without_password(url)}: {error}") from error
    if parts.scheme == "sqlite":
        return SqliteRegistry(_sqlite_path(url, parts), create=create)
    if parts.scheme in ("redis", "rediss"):
        return RedisRegistry(
            parts.hostname or _missing_host(),
            6379 if port is None else port,
            database=_redis_database(parts),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=_tls_files(parts),
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
    if parts.fragment or (name and not (name.isascii() and name.isdecimal())):
        raise RegistryUrlError(f"redis registry: expected a database number, found {name!r}")
    return int(name or "0")


def _tls_files(parts: SplitResult) -> TlsFiles | None:
    """None in the clear."""
    if parts.scheme == "redis":
        if parts.query:
            raise RegistryUrlError("redis registry: only rediss:// has files after a ?")
        return None
    given = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in given]
    if parts.query and (
        not given
        or len(set(names)) < len(names)
        or not set(names) <= set(_TLS_FILES)
        or not all(value and value.isprintable() for _, value in given)
    ):
        expected = ", ".join(f"{name}=FILE" for name in _TLS_FILES)
        raise RegistryUrlError(f"redis registry: expected no more after the ? than {expected}")
    files = {name: Path(value) for name, value in given}
    if "key" in files and "cert" not in files:
        raise RegistryUrlError("redis registry: expected cert=FILE beside key=FILE")
    return TlsFiles(files.get("ca"), files.get("cert"), files.get("key"))


def _missing_host() -> str:
    raise RegistryUrlError(f"redis registry: no host; expected {_FORMS}")


def _without_password(url: str) -> str:
    """The URL as errors may show it."""
    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite":
        # In a file's name it may stand; elsewhere it may be anything.
        rest = rest.partition("?")[0]
    authority, slash, path = rest.partition("/")
    return repr(scheme + separator + authority.rpartition("@")[2] + slash + path)
