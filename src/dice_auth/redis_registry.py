"""The registry in Redis, in the originals' layout, so that their `submit`, `list`, `del` and
`auth` work on the same database.

Theirs, in the database of the URL: one hash per board, key = the id as typed, field `root_cert`
= PEM. Those hashes are the truth. Ours, in the next database (their tools read every key of
theirs): an index from a root's key id to boards, rebuilt from the hashes by `follow`, so that a
lookup costs two round trips whatever the number of boards. Each lookup reads the hash itself:
a board their `del` removed is gone at once, a board their `submit` added is found when the next
pass has indexed it.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from dice import certificate
from dice_auth.errors import AlreadyEnrolledError, EnrolmentError, RegistryError
from dice_auth.registry import BoardRecord, Registry, record_of, record_to_enrol
from dice_auth.structured_log import log_event

_ROOT_CERT: Final = "root_cert"
# Index: a set of board ids for each key id, and for each board what its sets were built from.
_KEY_ID_PREFIX: Final = b"dice-auth:key-id:"
_INDEXED: Final = "dice-auth:indexed"

_ANSWER_TIMEOUT_S = 2.0
_PAGE_KEYS = 500
_FOLLOW_PAUSE_S = 0.5
# A pass over a large registry is followed by a pause that keeps it to a tenth of the time.
_FOLLOW_PAUSE_FACTOR = 9


class RedisRegistry(Registry):
    """host, port, database: where the originals' hashes are; the index is in database + 1."""

    def __init__(
        self,
        host: str,
        port: int = 6379,
        *,
        database: int = 0,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self._address = f"{host}:{port}"

        def connect(number: int) -> Redis:
            return Redis(
                host=host,
                port=port,
                db=number,
                username=username,
                password=password,
                socket_timeout=_ANSWER_TIMEOUT_S,
                socket_connect_timeout=_ANSWER_TIMEOUT_S,
                # Once more, at once: a pooled connection may be one that a restart has closed.
                retry=Retry(NoBackoff(), 1),
            )

        self._theirs = connect(database)
        self._index = connect(database + 1)

    async def enrol(self, board_id: str, root_der: bytes, *, replace: bool = False) -> bool:
        record = record_to_enrol(board_id, root_der)
        pem = certificate.to_pem(record.root)
        with self._faults():
            present = await self._read(board_id)
            if present == record:
                await self._index_board(record, pem.encode())
                return False
            if not replace and await self._theirs.exists(board_id):
                raise AlreadyEnrolledError(
                    f"{board_id} is already enrolled, with another root certificate"
                )
            same_root = await self._find(record.key_id)
            if same_root is not None and same_root.board_id != board_id:
                raise AlreadyEnrolledError(
                    f"the root certificate of {board_id} is already enrolled,"
                    f" as {same_root.board_id}"
                )
            # The index first: whoever sees the hash must be able to look it up.
            await self._index_board(record, pem.encode())
            await self._theirs.hset(board_id, _ROOT_CERT, pem)
        return True

    async def remove(self, board_id: str) -> bool:
        with self._faults():
            removed = await self._theirs.delete(board_id) > 0
            await self._unindex(board_id.encode())
        return removed

    async def boards(self) -> AsyncIterator[BoardRecord]:
        seen: set[bytes] = set()
        with self._faults():
            async for page in self._pages():
                for board_id, pem in page:
                    # SCAN may show a key twice while the table grows.
                    if board_id in seen:
                        continue
                    seen.add(board_id)
                    record = _record(board_id, pem)
                    if record is not None:
                        yield record

    async def get(self, board_id: str) -> BoardRecord | None:
        with self._faults():
            return await self._read(board_id)

    async def root_by_key_id(self, key_id: bytes) -> BoardRecord | None:
        with self._faults():
            return await self._find(key_id)

    async def check(self) -> None:
        with self._faults():
            await self._theirs.ping()

    async def follow(self, caught_up: Callable[[], None]) -> None:
        reachable = True
        task = asyncio.current_task()
        # The client library can swallow a cancellation that meets it in the middle of a command.
        while task is None or not task.cancelling():
            started = time.monotonic()
            try:
                await self._index_changes()
                caught_up()
                reachable = True
            except RegistryError as error:
                if reachable:
                    log_event("registry-fault", level=logging.WARNING, reason=str(error))
                reachable = False
            passed_s = time.monotonic() - started
            await asyncio.sleep(max(_FOLLOW_PAUSE_S, passed_s * _FOLLOW_PAUSE_FACTOR))

    async def close(self) -> None:
        await self._theirs.aclose()
        await self._index.aclose()

    async def _find(self, key_id: bytes) -> BoardRecord | None:
        for board_id in sorted(map(_as_bytes, await self._index.smembers(_key_id_key(key_id)))):
            record = await self._read(board_id.decode("utf-8", "surrogateescape"))
            if record is not None and record.key_id == key_id:
                return record
        return None

    async def _read(self, board_id: str) -> BoardRecord | None:
        try:
            key = board_id.encode("utf-8", "surrogateescape")
            pem = await self._theirs.hget(key, _ROOT_CERT)
        except ResponseError as error:
            # Not a hash: somebody else's key. Anything else is a fault.
            if error.args and str(error.args[0]).startswith("WRONGTYPE"):
                return None
            raise
        return None if pem is None else _record(key, _as_bytes(pem))

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Every board's id and PEM, a page at a time."""
        cursor = 0
        while True:
            cursor, keys = await self._theirs.scan(cursor, count=_PAGE_KEYS, _type="HASH")
            pipeline = self._theirs.pipeline(transaction=False)
            for key in keys:
                pipeline.hget(key, _ROOT_CERT)
            values = await pipeline.execute(raise_on_error=False)
            yield [
                (_as_bytes(key), bytes(value))
                for key, value in zip(keys, values, strict=True)
                if isinstance(value, bytes)
            ]
            if cursor == 0:
                return

    async def _index_changes(self) -> None:
        """One pass: index every hash that is new or changed, forget those that are gone."""
        present = 0
        with self._faults():
            async for page in self._pages():
                present += len(page)
                if not page:
                    continue
                known = await self._index.hmget(_INDEXED, [board_id for board_id, _ in page])
                for (board_id, pem), entry in zip(page, known, strict=True):
                    if entry is None or _as_bytes(entry)[:32] != _fingerprint(pem):
                        await self._take_up(board_id, pem)
            if await self._index.hlen(_INDEXED) > present:
                await self._forget_missing()

    async def _take_up(self, board_id: bytes, pem: bytes) -> None:
        record = _record(board_id, pem)
        if record is not None:
            await self._index_board(record, pem)
            return
        log_event(
            "registry-entry-unreadable",
            level=logging.WARNING,
            board=board_id.decode("utf-8", "replace"),
        )
        # Remembered without a key id, so that it is named once and not at every pass.
        await self._unindex(board_id)
        await self._index.hset(_INDEXED, board_id, _fingerprint(pem))

    async def _forget_missing(self) -> None:
        cursor = 0
        while True:
            cursor, entries = await self._index.hscan(_INDEXED, cursor, count=_PAGE_KEYS)
            for board_id in map(_as_bytes, entries):
                if not await self._theirs.exists(board_id):
                    await self._unindex(board_id)
            if cursor == 0:
                return

    async def _index_board(self, record: BoardRecord, pem: bytes) -> None:
        board_id = record.board_id.encode("utf-8", "surrogateescape")
        await self._unindex(board_id, keep=record.key_id)
        pipeline = self._index.pipeline(transaction=True)
        pipeline.sadd(_key_id_key(record.key_id), board_id)
        pipeline.hset(_INDEXED, board_id, _fingerprint(pem) + record.key_id)
        await pipeline.execute()

    async def _unindex(self, board_id: bytes, *, keep: bytes = b"") -> None:
        """Take the board out of the set it was indexed in, unless that is the set of `keep`."""
        entry = await self._index.hget(_INDEXED, board_id)
        if entry is None:
            return
        key_id = _as_bytes(entry)[32:]
        if key_id == keep and key_id:
            return
        pipeline = self._index.pipeline(transaction=True)
        if key_id:
            pipeline.srem(_key_id_key(key_id), board_id)
        pipeline.hdel(_INDEXED, board_id)
        await pipeline.execute()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            reason = str(error).strip() or type(error).__name__
            raise RegistryError(f"Redis at {self._address}: {reason}") from error


def _record(board_id: bytes, pem: bytes) -> BoardRecord | None:
    """None if the entry is not a board's: no certificate, or an id that cannot be one."""
    try:
        return record_of(board_id.decode("utf-8"), certificate.from_pem(pem))
    except (EnrolmentError, certificate.CertificateError, UnicodeDecodeError):
        return None


def _key_id_key(key_id: bytes) -> bytes:
    return _KEY_ID_PREFIX + key_id.hex().encode()


def _fingerprint(pem: bytes) -> bytes:
    return hashlib.sha256(pem).digest()


def _as_bytes(value: bytes | str) -> bytes:
    """The client's types allow str; it answers bytes as long as it is not told to decode."""
    return value.encode() if isinstance(value, str) else value
