"""Taking up what the originals' tools write into Redis, by themselves and from key to key id.

One process at a time does it for all: the follower. It goes over all boards again and again,
slowly (SCAN), and looks at single ones at once where Redis tells of changes (keyspace events,
`notify-keyspace-events Kgh`). The work is in Redis; only what changed comes here.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from dice import certificate
from dice_auth import redis_scripts
from dice_auth.certificate_shape import read_certificate
from dice_auth.enrolment import check_board_id, key_id_of
from dice_auth.errors import EnrolmentError, RegistryError
from dice_auth.redis_connection import RedisConnection
from dice_auth.structured_log import log_event

_PAGE_KEYS = 100
_PAUSE_S = 0.5
# A pass goes on at full speed for so long: enough for some 10,000 boards. After that each page is
# followed by a pause so many times as long, because requests wait for Redis and for this process;
# by a shorter one while the index is being built, since strangers have no answer until then.
_HURRY_S = 0.25
_PAUSE_FACTOR = 9
_BUILDING_PAUSE_FACTOR = 1
# How long a follower that died is waited for; it says that it lives at every page.
_LEASE_MS = 1000
# How often a follower that waits for changes says so, and looks whether the index is still there.
_LOOK_EVERY_S = 0.25
_SLOW_PASS_S = 1.0
_LONGEST_PASS_S = 24 * 3600


class RedisIndex:
    """Follows one Redis until it is cancelled."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._token = secrets.token_hex(8)
        self._hint_given = False
        self._next_look = 0.0

    async def follow(self, caught_up: Callable[[], None]) -> None:
        """Returns only if cancelled. A Redis that does not answer is logged once and waited for."""
        reachable = True
        task = asyncio.current_task()
        # The client library can swallow a cancellation that meets it in the middle of a command.
        while task is None or not task.cancelling():
            try:
                with self._connection.faults():
                    await self._follow_once(caught_up)
                reachable = True
            except RegistryError as error:
                if reachable:
                    log_event("registry-fault", level=logging.WARNING, reason=str(error))
                reachable = False
                await asyncio.sleep(_PAUSE_S)

    async def _follow_once(self, caught_up: Callable[[], None]) -> None:
        """A pass and the pause after it, if this is the follower; else a pause."""
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        if not await self._leads():
            if await self._is_complete():
                caught_up()
            await asyncio.sleep(_PAUSE_S)
            return
        events = self._connection.theirs.pubsub()
        try:
            # First the ear, then the pass: a change in between is seen by one of them.
            await events.psubscribe(f"__keyspace@{self._connection.database}__:*")
            started = time.monotonic()
            if await self._is_complete():
                caught_up()
            if await self._index_all(events, started + _HURRY_S):
                caught_up()
            await self._hint(time.monotonic() - started)
            await self._listen(events, time.monotonic() + _PAUSE_S)
        finally:
            await events.aclose()  # type: ignore[no-untyped-call]

    async def _leads(self) -> bool:
        answer = await self._connection.run(redis_scripts.LEAD, self._token, _LEASE_MS)
        return bool(answer == 1)

    async def _is_complete(self) -> bool:
        return bool(await self._connection.ours.exists(redis_scripts.COMPLETE))

    async def _index_all(self, events: PubSub, hurry_until: float) -> bool:
        """One pass: index what is new or changed, forget what is gone.

        False if it came to nothing: another process follows now, or our database was emptied
        meanwhile, and boards of earlier pages may be missing.
        """
        mark = f"{redis_scripts.MARK_PREFIX}{self._token}"
        await self._connection.ours.set(mark, 1, ex=_LONGEST_PASS_S)
        factor = _PAUSE_FACTOR if await self._is_complete() else _BUILDING_PAUSE_FACTOR
        cursor, present = b"0", 0
        while True:
            started = time.monotonic()
            cursor, count, *changed = await self._connection.run(
                redis_scripts.CHANGES, cursor, _PAGE_KEYS
            )
            present += count
            await self._take_up(changed)
            if cursor == b"0":
                break
            now = time.monotonic()
            until = now + (now - started) * factor if now > hurry_until else now
            if not await self._listen(events, until, building=factor == _BUILDING_PAUSE_FACTOR):
                return False
        if await self._connection.ours.hlen(redis_scripts.INDEXED) > present:
            await self._forget_missing()
        return bool(await self._connection.run(redis_scripts.FINISH_PASS, mark))

    async def _take_up(self, changed: Sequence[bytes]) -> None:
        """changed: id, fingerprint, PEM, and so on."""
        entries: list[bytes] = []
        for board_id, fingerprint, pem in zip(*[iter(changed)] * 3, strict=True):
            entries += (board_id, fingerprint, _key_id(board_id, pem))
        if entries:
            await self._connection.run(redis_scripts.INDEX, *entries)

    async def _forget_missing(self) -> None:
        cursor = b"0"
        while True:
            cursor = await self._connection.run(redis_scripts.FORGET, cursor, _PAGE_KEYS)
            if cursor == b"0":
                return

    async def _listen(self, events: PubSub, until: float, *, building: bool = False) -> bool:
        """Look at the boards whose keys change, until it is time to go on.

        False, and at once, if another process follows now, or if our database was emptied (not
        when `building`, it is not complete then): nobody can be told that he is not enrolled
        before the pass that builds it again.
        """
        while (now := time.monotonic()) < until:
            if now >= self._next_look:
                self._next_look = now + _LOOK_EVERY_S
                if not await self._leads() or not (building or await self._is_complete()):
                    return False
            changed = await _changed_keys(events, min(until - now, _LOOK_EVERY_S))
            if changed:
                await self._take_up(await self._connection.run(redis_scripts.CHANGE, *changed))
        return True

    async def _hint(self, passed_s: float) -> None:
        """Say once that C-enrolled boards are found late, and what would change that."""
        if passed_s < _SLOW_PASS_S or self._hint_given:
            return
        self._hint_given = True
        try:
            flags = (await self._connection.theirs.config_get("notify-keyspace-events")).popitem()[
                1
            ]
        except (RedisError, ValueError):
            return
        flags = str(flags)
        if "K" not in flags or not ("A" in flags or {"g", "h"} <= set(flags)):
            log_event(
                "registry-scan-slow",
                level=logging.WARNING,
                seconds=round(passed_s, 1),
                hint="boards enrolled by the C tools are found after a scan;"
                " `CONFIG SET notify-keyspace-events Kgh` in Redis has them found at once",
            )


async def _changed_keys(events: PubSub, timeout_s: float) -> set[bytes]:
    """Keys of which Redis has told, once it does: at most a page of them."""
    keys: set[bytes] = set()
    while len(keys) < _PAGE_KEYS:
        event: dict[str, Any] | None = await events.get_message(
            ignore_subscribe_messages=True, timeout=0 if keys else timeout_s
        )
        if event is None:
            break
        keys.add(event["channel"].partition(b"__:")[2])
    return keys


def _key_id(board_id: bytes, pem: bytes) -> bytes:
    """The root's key id in hex; empty if the entry is no board's, which is then named once."""
    try:
        name = board_id.decode("utf-8")
        check_board_id(name)
        return key_id_of(name, read_certificate(certificate.from_pem(pem))).hex().encode()
    except (EnrolmentError, certificate.CertificateError, UnicodeDecodeError):
        log_event(
            "registry-entry-unreadable",
            level=logging.WARNING,
            board=board_id.decode("utf-8", "replace"),
        )
        return b""
