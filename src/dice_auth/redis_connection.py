"""The way to Redis: one client for each of the two databases, scripts, and faults told alike."""

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from dice_auth.errors import RegistryError
from dice_auth.redis_tls import TlsConnection, reason_of

_ANSWER_TIMEOUT_S = 2.0


class RedisConnection:
    """host, port, database: where the originals' hashes are; what is ours is in database + 1. tls:
    None for a connection in the clear.

    theirs, ours: the clients; they answer bytes. once: of our database too; it never repeats what
    it sent.
    """

    def __init__(
        self,
        host: str,
        port: int,
        database: int,
        username: str | None,
        password: str | None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = f"{host}:{port}"
        self._databases = (database, database + 1)

        def connect(number: int, timeout_s: float = _ANSWER_TIMEOUT_S) -> Redis:
            client = Redis(
                host=host,
                port=port,
                db=number,
                username=username,
                password=password,
                socket_timeout=timeout_s,
                socket_connect_timeout=_ANSWER_TIMEOUT_S,
                # Once more, at once: a pooled connection may be one that a restart has closed.
                retry=Retry(NoBackoff(), 1),
            )
            if tls is not None:
                client.connection_pool.connection_class = TlsConnection
                client.connection_pool.connection_kwargs["context"] = tls
            return client

        self._connect = connect
        self.theirs, self.ours = map(connect, self._databases)
        self.once = self.patient(_ANSWER_TIMEOUT_S)

    @property
    def database(self) -> int:
        """The originals' database."""
        return self._databases[0]

    async def run(
        self, script: str, *arguments: str | bytes | int, client: Redis | None = None
    ) -> Any:
        """Run one of `redis_scripts` in our database, with the two database numbers first."""
        values = (*self._databases, *arguments)
        client = client or self.ours
        try:
            return await client.evalsha(_sha1(script), 0, *values)
        except NoScriptError:
            return await client.eval(script, 0, *values)

    def patient(self, timeout_s: float) -> Redis:
        """A client of our database for a step that may take so long; to be closed after use.

        It does not repeat what it sent: the first one may still be at work.
        """
        client = self._connect(self._databases[1], timeout_s)
        client.set_retry(Retry(NoBackoff(), 0))
        return client

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Whatever the client library raises becomes RegistryError, one line with the address."""
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            said = (str(error).splitlines() or [""])[0].strip() or type(error).__name__
            reason = reason_of(error) or said
            raise RegistryError(f"Redis at {self._address}: {reason}") from error

    async def close(self) -> None:
        await self.theirs.aclose()
        await self.ours.aclose()
        await self.once.aclose()


@cache
def _sha1(script: str) -> str:
    """The name Redis gives a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
