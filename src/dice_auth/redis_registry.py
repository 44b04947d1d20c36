"""The registry in Redis, in the originals' layout, so that their `submit`, `list`, `del` and
`auth` work on the same database.

Theirs, in the database of the URL: one hash per board, key = the id as typed, field `root_cert`
= PEM. Those hashes are the truth: each lookup reads the board's own. Ours, in the next database
(their tools read every key of theirs): an index from a root's key id to boards, and what they do
not know of a board; `redis_scripts` has the layout. A board their `del` removed is gone at once,
one their `submit` added is found once `follow` has indexed it. While the index is not known to be
complete, as after its loss, nobody is told that a board is not enrolled.
"""

import asyncio
import dataclasses
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from dice import certificate
from dice_auth import redis_board_scripts, redis_scripts, registry
from dice_auth.enrolment import Enrolment
from dice_auth.errors import (
    AlreadyEnrolledError,
    DiceAuthError,
    RegistryError,
    RevokedError,
    StaleRevisionError,
)
from dice_auth.redis_connection import RedisConnection
from dice_auth.redis_index import RedisIndex
from dice_auth.redis_records import SeenBoard, read_record, state_of, with_details
from dice_auth.redis_tls import TlsFiles, client_context
from dice_auth.registry import (
    BoardRecord,
    EnrolledRoot,
    Observation,
    Page,
    Progress,
    Registry,
    Revisions,
    Revocation,
)

_PAGE_KEYS = 500
# SCAN's cursors have 64 bits.
_MOST_CURSOR = 2**64 - 1
_BATCH_PAGE = 500
# A batch whose process died before it was enrolled is forgotten after this time.
_BATCH_TTL_S = 3600
# The longest Redis may take for a batch of any size before the connection counts as dead.
_BATCH_TIMEOUT_S: Final = 600
# A write to a board that others change meanwhile begins again, so many times.
_WRITE_ATTEMPTS = 100
_WRITE_PAUSE_S = 0.01


class RedisRegistry(Registry):
    """host, port, database: where the originals' hashes are; what is ours is in database + 1. tls:
    which files to speak TLS with; None: in the clear. Raises RegistryError where one of them
    cannot be used."""

    def __init__(
        self,
        host: str,
        port: int = 6379,
        *,
        database: int = 0,
        username: str | None = None,
        password: str | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        context = None if tls is None else client_context(tls)
        self._connection = RedisConnection(host, port, database, username, password, context)

    async def enrol_all(
        self,
        boards: Iterable[Enrolment],
        *,
        replace: bool = False,
        update: bool = True,
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
                    int(update),
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

    async def change(
        self,
        board_id: str,
        edit: Callable[[BoardRecord], Enrolment],
        *,
        revisions: Revisions = None,
    ) -> BoardRecord | None:
        async for seen in self._looks(board_id, revisions):
            if seen is None:
                return None
            old = seen.record
            new = edit(old)
            now = int(time.time())
            is_other_root = new.root != old.root
            changed = dataclasses.replace(
                old,
                root=new.root,
                key_id=new.key_id,
                application=old.application if new.application is None else new.application,
                labels=old.labels if new.labels is None else new.labels,
                enrolled_at=now if is_other_root else old.enrolled_at,
            )
            outcome = await self._write(
                redis_board_scripts.EDIT,
                _key(board_id),
                *seen.as_arguments,
                certificate.to_pem(new.root) if is_other_root else "",
                new.key_id.hex(),
                changed.application,
                json.dumps(dict(changed.labels)) if changed.labels else "",
                now,
            )
            if outcome[0] == b"ok":
                return changed
            if outcome[0] != b"changed":
                raise _refusal(outcome)
        raise self._too_many_writers()

    async def remove(self, board_id: str, *, revisions: Revisions = None) -> bool:
        if revisions is None:
            return bool(await self._write(redis_board_scripts.REMOVE, _key(board_id), "", ""))
        async for seen in self._looks(board_id, revisions):
            if seen is None:
                return False
            outcome = await self._write(
                redis_board_scripts.REMOVE, _key(board_id), *seen.as_arguments
            )
            if outcome >= 0:
                return bool(outcome)
        raise self._too_many_writers()

    async def revoke(
        self, board_id: str, revocation: Revocation, *, revisions: Revisions = None
    ) -> Revocation | None:
        text = json.dumps({"board": board_id, "reason": revocation.reason, "at": revocation.at})
        async for seen in self._looks(board_id, revisions):
            if seen is None:
                return None
            if seen.record.revocation is not None:
                return seen.record.revocation
            if await self._write(
                redis_board_scripts.REVOKE, _key(board_id), *seen.as_arguments, text
            ):
                return revocation
        raise self._too_many_writers()

    async def reinstate(self, board_id: str, *, revisions: Revisions = None) -> bool:
        async for seen in self._looks(board_id, revisions):
            arguments: tuple[str | bytes, ...]
            if seen is not None:
                arguments = seen.as_arguments
            elif revisions is not None:
                return False
            elif key_id := await self._newest_revoked_as(board_id):
                arguments = ("", key_id)
            else:
                return False
            outcome = await self._write(redis_board_scripts.REINSTATE, _key(board_id), *arguments)
            if outcome >= 0:
                return bool(outcome)
        raise self._too_many_writers()

    async def _looks(self, board_id: str, revisions: Revisions) -> AsyncIterator[SeenBoard | None]:
        """The board as it is now, again and again: whoever gets it writes if it is still so.

        Raises StaleRevisionError.
        """
        for attempt in range(_WRITE_ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0, _WRITE_PAUSE_S))  # noqa: S311  # no secret
            with self._connection.faults():
                seen = await self._look(board_id)
            if revisions is not None and seen and seen.record.revision not in revisions:
                raise StaleRevisionError(f"{board_id} has been changed meanwhile")
            yield seen

    async def _write(self, script: str, *arguments: str | bytes | int) -> Any:
        # Not repeated: if the answer to the first was lost, the second would find another state.
        with self._connection.faults():
            return await self._connection.run(script, *arguments, client=self._connection.once)

    def _too_many_writers(self) -> RegistryError:
        return RegistryError("Redis: others keep changing this board, try again")

    async def boards(self) -> AsyncIterator[BoardRecord]:
        seen: set[bytes] = set()
        with self._connection.faults():
            async for page in self._pages():
                # SCAN may show a key twice while the table grows.
                new = [(board_id, pem) for board_id, pem in page if board_id not in seen]
                seen.update(board_id for board_id, _ in new)
                for each in await self._details(new):
                    yield each.record

    async def page(self, start: str, limit: int) -> Page:
        cursor, _, after = start.partition(":")
        is_number = cursor.isascii() and cursor.isdecimal() and len(cursor) <= 20
        if start and not (is_number and int(cursor) <= _MOST_CURSOR):
            raise ValueError("no place in this registry")
        with self._connection.faults():
            following, last, *found = await self._connection.run(
                redis_board_scripts.PAGE, cursor or "0", limit, after
            )
            boards = list(zip(found[::2], found[1::2], strict=True))
            records = [seen.record for seen in await self._details(boards)]
        more = "" if following == b"0" and not last else f"{following.decode()}:"
        return Page(records, more + last.decode("utf-8", "surrogateescape"))

    async def get(self, board_id: str) -> BoardRecord | None:
        with self._connection.faults():
            seen = await self._look(board_id)
        return None if seen is None else seen.record

    async def _look(self, board_id: str) -> SeenBoard | None:
        key = _key(board_id)
        try:
            pem = await self._connection.theirs.hget(key, redis_scripts.ROOT_CERT)
        except ResponseError as error:
            # Not a hash: somebody else's key. Anything else is a fault.
            if error.args and str(error.args[0]).startswith("WRONGTYPE"):
                return None
            raise
        found = [] if pem is None else await self._details([(key, _as_bytes(pem))])
        return found[0] if found else None

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

    async def _newest_revoked_as(self, board_id: str) -> bytes | None:
        """Of the key ids revoked under this id. Revocations are few: all are looked at."""
        newest: tuple[int, bytes] | None = None
        with self._connection.faults():
            async for key_id, text in self._connection.ours.hscan_iter(redis_scripts.REVOKED):
                kept = json.loads(text)
                if kept["board"] == board_id and (newest is None or kept["at"] > newest[0]):
                    newest = kept["at"], _as_bytes(key_id)
        return None if newest is None else newest[1]

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

    async def _details(self, boards: Sequence[tuple[bytes, bytes]]) -> list[SeenBoard]:
        """Records with what our database knows of them; entries that are no board's left out."""
        found = [
            (record, pem) for id_, pem in boards if (record := read_record(id_, pem)) is not None
        ]
        if not found:
            return []
        pipeline = self._connection.ours.pipeline(transaction=False)
        for record, _ in found:
            pipeline.hgetall(redis_scripts.BOARD_PREFIX.encode() + _key(record.board_id))
        pipeline.hmget(redis_scripts.REVOKED, [record.key_id.hex() for record, _ in found])
        *details, revocations = await pipeline.execute()
        return [
            SeenBoard(with_details(record, detail, revocation), state_of(pem, detail, revocation))
            for (record, pem), detail, revocation in zip(found, details, revocations, strict=True)
        ]


def _batch_entry(board: Enrolment) -> str:
    pem = certificate.to_pem(board.root)
    values = board.board_id, board.key_id.hex(), pem, board.application, board.labels_as_json
    return json.dumps(values)


def _changed(outcome: list[Any]) -> int:
    """How many boards `redis_scripts.ENROL` changed. Raises what it found instead."""
    if outcome[0] == b"ok":
        return int(outcome[1])
    raise _refusal(outcome)


def _refusal(outcome: list[Any]) -> DiceAuthError:
    """What a script found that keeps it from enrolling."""
    what = outcome[0].decode()
    if what == "not-all":
        return RegistryError("Redis lost a part of the batch: nothing is enrolled, try again")
    board_id, other = (value.decode("utf-8", "replace") for value in outcome[1:])
    if what == "revoked":
        revocation = json.loads(other)
        return RevokedError(
            f"the root certificate of {board_id} is revoked"
            f" (as {revocation['board']}: {revocation['reason']})"
        )
    return AlreadyEnrolledError(
        {
            "twice": f"{board_id} is in the batch twice",
            "same-root": f"{other} and {board_id} have the same root certificate",
            "no-board": f"{board_id} is in use in Redis for something else, a {other}",
            "other-root": f"{board_id} is already enrolled, with another root certificate",
            "other-texts": f"{board_id} is already enrolled, with another application or other"
            " labels",
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


def _key(board_id: str) -> bytes:
    return board_id.encode("utf-8", "surrogateescape")


def _as_bytes(value: bytes | str) -> bytes:
    """The client's types allow str; it answers bytes as long as it is not told to decode."""
    return value.encode() if isinstance(value, str) else value
