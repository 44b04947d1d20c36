"""The registry in Redis, in the originals' layout, so that their `submit`, `list`, `del` and
`auth` work on the same database.

Theirs, in the database of the URL: one hash per board, key = the id as typed, field `root_cert`
= PEM. Those hashes are the truth: each lookup reads the board's own. Ours, in the next database
(their tools read every key of theirs): an index from a root's key id to boards, and what they do
not know of a board; `redis_scripts` has the layout. A board their `del` removed is gone at once,
one their `submit` added is found once `follow` has indexed it. While the index is not known to be
complete, as after its loss, nobody is told that a board is not enrolled.
"""

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from dice import certificate
from dice_auth import redis_scripts, registry
from dice_auth.certificate_shape import read_certificate
from dice_auth.enrolment import Enrolment, check_board_id, key_id_of
from dice_auth.errors import AlreadyEnrolledError, EnrolmentError, RegistryError, RevokedError
from dice_auth.redis_connection import RedisConnection
from dice_auth.redis_index import RedisIndex
from dice_auth.registry import (
    BoardRecord,
    EnrolledRoot,
    Observation,
    Progress,
    Registry,
    Revocation,
)

_PAGE_KEYS = 500
_BATCH_PAGE = 500
# A batch whose process died before it was enrolled is forgotten after this time.
_BATCH_TTL_S = 3600
# The longest Redis may take for a batch of any size before the connection counts as dead.
_BATCH_TIMEOUT_S: Final = 600


class RedisRegistry(Registry):
    """host, port, database: where the originals' hashes are; what is ours is in database + 1."""

    def __init__(
        self,
        host: str,
        port: int = 6379,
        *,
        database: int = 0,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self._connection = RedisConnection(host, port, database, username, password)

    async def enrol_all(
        self,
        boards: Iterable[Enrolment],
        *,
        replace: bool = False,
        progress: Progress = lambda count: None,
    ) -> int:
        batch = redis_scripts.BATCH_PREFIX + secrets.token_hex(8)
        with self._connection.faults():
            try:
                count = await self._collect(batch, boards, progress)
            except BaseException:
                # A large one would be in Redis' memory for an hour. Not certain: TTL is behind it.
                with suppress(RedisError, OSError, TimeoutError):
                    await self._connection.ours.delete(batch)
                raise
            async with self._connection.patient(_BATCH_TIMEOUT_S) as client:
                outcome = await self._connection.run(
                    redis_scripts.ENROL,
                    batch,
                    count,
                    int(replace),
                    int(time.time()),
                    client=client,
                )
        return _changed(outcome)

    async def _collect(self, batch: str, boards: Iterable[Enrolment], progress: Progress) -> int:
        """Put all of them into a list in Redis; how many they are."""
        count, remaining = 0, iter(boards)
        while page := [_batch_entry(board) for board in islice(remaining, _BATCH_PAGE)]:
            async with self._connection.ours.pipeline() as pipeline:
                pipeline.rpush(batch, *page)
                pipeline.expire(batch, _BATCH_TTL_S)
                await pipeline.execute()
            count += len(page)
            progress(count)
        return count

    async def remove(self, board_id: str) -> bool:
        with self._connection.faults():
            return bool(await self._connection.run(redis_scripts.REMOVE, _key(board_id)))

    async def revoke(self, board_id: str, revocation: Revocation) -> bool:
        with self._connection.faults():
            record = await self.get(board_id)
            if record is None:
                return False
            text = json.dumps({"board": board_id, "reason": revocation.reason, "at": revocation.at})
            await self._connection.ours.hsetnx(redis_scripts.REVOKED, record.key_id.hex(), text)
        return True

    async def reinstate(self, board_id: str) -> bool:
        with self._connection.faults():
            record = await self.get(board_id)
            if record is not None:
                key_ids = [record.key_id.hex().encode()]
            else:
                key_ids = await self._revoked_as(board_id)
            if not key_ids:
                return False
            return bool(await self._connection.ours.hdel(redis_scripts.REVOKED, *key_ids))

    async def boards(self) -> AsyncIterator[BoardRecord]:
        seen: set[bytes] = set()
        with self._connection.faults():
            async for page in self._pages():
                # SCAN may show a key twice while the table grows.
                new = [(board_id, pem) for board_id, pem in page if board_id not in seen]
                seen.update(board_id for board_id, _ in new)
                for record in await self._records(new):
                    yield record

    async def get(self, board_id: str) -> BoardRecord | None:
        with self._connection.faults():
            key = _key(board_id)
            try:
                pem = await self._connection.theirs.hget(key, redis_scripts.ROOT_CERT)
            except ResponseError as error:
                # Not a hash: somebody else's key. Anything else is a fault.
                if error.args and str(error.args[0]).startswith("WRONGTYPE"):
                    return None
                raise
            records = [] if pem is None else await self._records([(key, _as_bytes(pem))])
        return records[0] if records else None

    async def roots_by_key_ids(self, key_ids: Sequence[bytes]) -> list[EnrolledRoot | None]:
        with self._connection.faults():
            found = await self._connection.run(
                redis_scripts.FIND, *(key_id.hex() for key_id in key_ids)
            )
        return [_enrolled_root(answer) for answer in found]

    async def record(self, observations: Iterable[Observation]) -> None:
        remaining = iter(observations)
        with self._connection.faults():
            while page := list(islice(remaining, _BATCH_PAGE)):
                values: list[str | int] = []
                for each in page:
                    first = "" if each.first_seen is None else each.first_seen
                    last = "" if each.last_seen is None else each.last_seen
                    has_version = int(each.version is not None)
                    version = each.version or ""
                    values += (each.board_id, each.verdict, first, last, version, has_version)
                await self._connection.run(redis_scripts.OBSERVE, *values)

    async def issue_nonce(self, nonce: bytes) -> bool:
        with self._connection.faults():
            values = nonce.hex(), registry.NONCE_LIFETIME_S * 1000, registry.MOST_NONCES
            return bool(await self._connection.run(redis_scripts.ISSUE_NONCE, *values))

    async def use_nonce(self, nonce: bytes) -> bool:
        with self._connection.faults():
            # Not repeated: if the answer to the first was lost, the second would find it used.
            values = nonce.hex(), registry.NONCE_LIFETIME_S * 1000
            client = self._connection.once
            return bool(await self._connection.run(redis_scripts.USE_NONCE, *values, client=client))

    async def check(self) -> None:
        with self._connection.faults():
            await self._connection.theirs.ping()

    async def follow(self, caught_up: Callable[[], None]) -> None:
        await RedisIndex(self._connection).follow(caught_up)

    async def close(self) -> None:
        await self._connection.close()

    async def _revoked_as(self, board_id: str) -> list[bytes]:
        """Key ids revoked under this id. Revocations are few: all are looked at."""
        revoked = self._connection.ours.hscan_iter(redis_scripts.REVOKED)
        return [
            _as_bytes(key_id)
            async for key_id, text in revoked
            if json.loads(text)["board"] == board_id
        ]

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Every board's id and PEM, a page at a time."""
        theirs, cursor = self._connection.theirs, 0
        while True:
            cursor, keys = await theirs.scan(cursor, count=_PAGE_KEYS, _type="HASH")
            pipeline = theirs.pipeline(transaction=False)
            for key in keys:
                pipeline.hget(key, redis_scripts.ROOT_CERT)
            values = await pipeline.execute(raise_on_error=False)
            yield [
                (_as_bytes(key), bytes(value))
                for key, value in zip(keys, values, strict=True)
                if isinstance(value, bytes)
            ]
            if cursor == 0:
                return

    async def _records(self, boards: list[tuple[bytes, bytes]]) -> list[BoardRecord]:
        """Records with what our database knows of them; entries that are no board's left out."""
        found = [_record(board_id, pem) for board_id, pem in boards]
        records = [record for record in found if record is not None]
        if not records:
            return []
        pipeline = self._connection.ours.pipeline(transaction=False)
        for record in records:
            pipeline.hgetall(redis_scripts.BOARD_PREFIX.encode() + _key(record.board_id))
        pipeline.hmget(redis_scripts.REVOKED, [record.key_id.hex() for record in records])
        *details, revocations = await pipeline.execute()
        return [
            _with_details(record, detail, revocation)
            for record, detail, revocation in zip(records, details, revocations, strict=True)
        ]


def _batch_entry(board: Enrolment) -> str:
    labels = None if board.labels is None else (json.dumps(board.labels) if board.labels else "")
    pem = certificate.to_pem(board.root)
    return json.dumps([board.board_id, board.key_id.hex(), pem, board.application, labels])


def _changed(outcome: list[Any]) -> int:
    """How many boards `redis_scripts.ENROL` changed. Raises what it found instead."""
    what = outcome[0].decode()
    if what == "ok":
        return int(outcome[1])
    if what == "not-all":
        raise RegistryError("Redis lost a part of the batch: nothing is enrolled, try again")
    board_id, other = (value.decode("utf-8", "replace") for value in outcome[1:])
    if what == "revoked":
        revocation = json.loads(other)
        raise RevokedError(
            f"the root certificate of {board_id} is revoked"
            f" (as {revocation['board']}: {revocation['reason']})"
        )
    raise AlreadyEnrolledError(
        {
            "twice": f"{board_id} is in the batch twice",
            "same-root": f"{other} and {board_id} have the same root certificate",
            "no-board": f"{board_id} is in use in Redis for something else, a {other}",
            "other-root": f"{board_id} is already enrolled, with another root certificate",
            "enrolled-as": f"the root certificate of {board_id} is already enrolled, as {other}",
        }[what]
    )


def _enrolled_root(answer: bytes) -> EnrolledRoot | None:
    """One answer of `redis_scripts.FIND`."""
    if answer == b"?":
        raise RegistryError("the index of boards in Redis is being built")
    if answer == b"-":
        return None
    board_id, _, pem = answer[1:].rpartition(b"\0")
    # What is indexed has been read: id, PEM and key id are a board's.
    return EnrolledRoot(board_id.decode(), certificate.from_pem(pem), answer[:1] == b"1")


def _record(board_id: bytes, pem: bytes) -> BoardRecord | None:
    """None if the entry is not a board's: no certificate, or an id that cannot be one."""
    try:
        name = board_id.decode("utf-8")
        check_board_id(name)
        root = read_certificate(certificate.from_pem(pem))
        return BoardRecord(name, root.der, key_id_of(name, root))
    except (EnrolmentError, certificate.CertificateError, UnicodeDecodeError):
        return None


def _with_details(
    record: BoardRecord, detail: Mapping[bytes, bytes], revocation: bytes | None
) -> BoardRecord:
    def number(name: bytes) -> int | None:
        return int(detail[name]) if name in detail else None

    verdict, version = detail.get(b"last_verdict"), detail.get(b"last_version")
    found = None if revocation is None else json.loads(revocation)
    return BoardRecord(
        record.board_id,
        record.root,
        record.key_id,
        detail.get(b"application", b"").decode(),
        json.loads(detail.get(b"labels") or b"{}"),
        None if found is None else Revocation(found["reason"], found["at"]),
        number(b"enrolled_at"),
        number(b"first_seen"),
        number(b"last_seen"),
        None if verdict is None else verdict.decode(),
        None if version is None else version.decode(),
    )


def _key(board_id: str) -> bytes:
    return board_id.encode("utf-8", "surrogateescape")


def _as_bytes(value: bytes | str) -> bytes:
    """The client's types allow str; it answers bytes as long as it is not told to decode."""
    return value.encode() if isinstance(value, str) else value
