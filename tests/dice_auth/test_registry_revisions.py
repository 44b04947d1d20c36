"""Revisions and pages, as both registries have them."""

import asyncio
from pathlib import Path

import pytest

from dice_auth.enrolment import Enrolment
from dice_auth.errors import AlreadyEnrolledError, RegistryError, StaleRevisionError
from dice_auth.registry import BoardRecord, Observation, Registry, Revocation
from dice_auth.registry_url import open_registry
from tests.dice_auth.boards import board
from tests.dice_auth.redis_peer import RedisPeer
from tests.dice_auth.test_registry import with_registry

FIRST, SECOND = board(1), board(2)
STOLEN = Revocation("stolen", 1_700_000_000)


def edited(**values: object):  # type: ignore[no-untyped-def]
    def edit(old: BoardRecord) -> Enrolment:
        return Enrolment(old.board_id, old.root, old.key_id, **values)  # type: ignore[arg-type]

    return edit


def test_a_revision_stands_for_what_is_written_and_not_for_what_is_seen(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        async def revision() -> str:
            record = await registry.get("door")
            assert record is not None
            (listed,) = (await registry.page("", 5)).boards
            assert listed.revision == record.revision
            return record.revision

        await registry.enrol("door", FIRST.root)
        found = [await revision()]
        await registry.record([Observation("door", "accepted", 1, 2, "1.2.3")])
        assert await revision() == found[0]
        await registry.change("door", edited(application="a"))
        found.append(await revision())
        await registry.change("door", edited(labels={"site": "lab"}))
        found.append(await revision())
        await registry.revoke("door", STOLEN)
        found.append(await revision())
        await registry.reinstate("door")
        assert await revision() == found[2]
        await registry.enrol("door", SECOND.root, replace=True)
        found.append(await revision())
        assert len(set(found)) == len(found)

    with_registry(registry_url, work)


def test_a_record_has_the_same_revision_in_both_registries(
    sqlite_url: str, redis_peer: RedisPeer
) -> None:
    async def revision(url: str) -> str:
        async with open_registry(url) as registry:
            await registry.enrol("door", FIRST.root, application="é", labels={"b": "1", "a": "☃"})
            record = await registry.get("door")
            assert record is not None
            return BoardRecord(
                record.board_id, record.root, record.key_id, record.application, record.labels,
                enrolled_at=1,
            ).revision  # fmt: skip

    assert asyncio.run(revision(sqlite_url)) == asyncio.run(revision(redis_peer.url))


def test_nothing_is_written_for_who_has_seen_another_revision(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol("door", FIRST.root)
        before = await registry.get("door")
        assert before is not None
        stale = {"revisions": frozenset(("0" * 32,))}
        for attempt in (
            registry.change("door", edited(application="a"), **stale),
            registry.remove("door", **stale),
            registry.revoke("door", STOLEN, **stale),
            registry.reinstate("door", **stale),
        ):
            with pytest.raises(StaleRevisionError, match="door has been changed"):
                await attempt
        assert await registry.get("door") == before
        right = {"revisions": frozenset(("0" * 32, before.revision))}
        assert await registry.revoke("door", STOLEN, **right) == STOLEN
        with pytest.raises(StaleRevisionError):
            await registry.remove("door", **right)
        # Who is not there has no revision.
        assert await registry.change("nobody", edited(), **right) is None
        assert not await registry.remove("nobody", **right)
        assert await registry.revoke("nobody", STOLEN, **right) is None
        assert not await registry.reinstate("nobody", **right)

    with_registry(registry_url, work)


def test_of_two_revocations_the_first_is_told(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol("door", FIRST.root)
        assert await registry.revoke("door", STOLEN) == STOLEN
        assert await registry.revoke("door", Revocation("lost", 5)) == STOLEN

    with_registry(registry_url, work)


def test_an_edit_that_fails_changes_nothing(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        def fail(old: BoardRecord) -> Enrolment:
            raise ValueError("no")

        await registry.enrol("door", FIRST.root)
        before = await registry.get("door")
        with pytest.raises(ValueError, match="no"):
            await registry.change("door", fail)
        assert await registry.get("door") == before

    with_registry(registry_url, work)


def test_enrolling_without_update_leaves_what_a_board_has(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol("door", FIRST.root, application="a", labels={"x": "1"})
        same = Enrolment.of("door", FIRST.root)
        new = Enrolment.of("gate", SECOND.root)
        other = Enrolment.of("door", FIRST.root, application="b")
        with pytest.raises(AlreadyEnrolledError, match="with another application or other"):
            await registry.enrol_all([new, other], update=False)
        assert await registry.get("gate") is None
        assert await registry.enrol_all([new, same], update=False) == 1
        record = await registry.get("door")
        assert record is not None
        assert (record.application, record.labels) == ("a", {"x": "1"})

    with_registry(registry_url, work)


def test_boards_of_the_c_tools_are_changed_revoked_and_paged(redis_peer: RedisPeer) -> None:
    async def work(registry: Registry) -> None:
        for number in range(1, 30):
            redis_peer.run("HSET", board(number).board_id, "root_cert", board(number).root_pem)
        redis_peer.run("SET", "no board", "x")
        redis_peer.run("HSET", "no board either", "x", "y")
        found, start = [], ""
        while True:
            page = await registry.page(start, 4)
            assert len(page.boards) <= 4
            found += [record.board_id for record in page.boards]
            if not (start := page.next):
                break
        assert sorted(found) == sorted(board(number).board_id for number in range(1, 30))
        changed = await registry.change(FIRST.board_id, edited(application="a"))
        assert changed is not None
        assert changed == await registry.get(FIRST.board_id)
        assert await registry.revoke(FIRST.board_id, STOLEN, revisions={changed.revision}) == STOLEN
        with pytest.raises(ValueError, match="no place"):
            await registry.page("x", 4)
        with pytest.raises(ValueError, match="no place"):
            await registry.page(f"{2**64}:", 4)

    with_registry(redis_peer.url, work)


def test_a_board_that_is_not_there_any_more_is_in_no_page(sqlite_url: str) -> None:
    async def work(registry: Registry) -> None:
        for number in range(1, 10):
            await registry.enrol(f"{number}", board(number).root)
        page = await registry.page("", 3)
        await registry.remove(page.next)
        following = await registry.page(page.next, 100)
        assert [record.board_id for record in following.boards] == list("456789")
        assert not following.next

    with_registry(sqlite_url, work)


def test_a_file_that_is_gone_is_a_fault_of_every_write(sqlite_url: str) -> None:
    async def work(registry: Registry) -> None:
        Path(sqlite_url.removeprefix("sqlite:///")).unlink()
        for attempt in (registry.page("", 3), registry.change("x", edited())):
            with pytest.raises(RegistryError):
                await attempt

    with_registry(sqlite_url, work)
