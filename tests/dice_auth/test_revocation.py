"""A revoked root is refused, whatever is done to its board afterwards."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from dice_auth.errors import AlreadyEnrolledError, RevokedError
from dice_auth.registry import Registry, Revocation
from dice_auth.verdict_queue import VerdictQueue
from tests.dice_auth.boards import board
from tests.dice_auth.test_registry import with_registry

FIRST, SECOND = board(1), board(2)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
STOLEN = Revocation("stolen", 1_700_000_000)

Work = Callable[[Registry], Awaitable[None]]


async def failed_checks(registry: Registry) -> tuple[str, ...]:
    verdict = await VerdictQueue(registry).verify(FIRST.pem.encode(), NOW)
    assert verdict.accepted != bool(verdict.failed)
    return verdict.failed


def test_a_revoked_board_is_refused_by_name_and_a_reinstated_one_accepted(
    registry_url: str,
) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        assert await failed_checks(registry) == ()
        assert await registry.revoke(FIRST.board_id, STOLEN)
        assert await failed_checks(registry) == ("revoked",)
        record = await registry.get(FIRST.board_id)
        assert record is not None
        assert (record.state, record.revocation) == ("revoked", STOLEN)
        assert await registry.reinstate(FIRST.board_id)
        assert not await registry.reinstate(FIRST.board_id)
        assert await failed_checks(registry) == ()

    with_registry(registry_url, work)


def test_removing_and_enrolling_again_does_not_lift_it(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        await registry.revoke(FIRST.board_id, STOLEN)
        await registry.remove(FIRST.board_id)
        assert await failed_checks(registry) == ("not-enrolled",)
        for board_id in (FIRST.board_id, "another name"):
            with pytest.raises(RevokedError, match=f"as {FIRST.board_id}: stolen"):
                await registry.enrol(board_id, FIRST.root)
        assert await failed_checks(registry) == ("not-enrolled",)
        # The only trace of the board is its revocation: it can still be taken back.
        assert await registry.reinstate(FIRST.board_id)
        assert await registry.enrol(FIRST.board_id, FIRST.root)
        assert await failed_checks(registry) == ()

    with_registry(registry_url, work)


def test_a_board_given_a_new_root_is_active_and_its_old_root_stays_revoked(
    registry_url: str,
) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol("door", FIRST.root)
        await registry.revoke("door", STOLEN)
        assert await registry.enrol("door", SECOND.root, replace=True)
        record = await registry.get("door")
        assert record is not None
        assert record.state == "active"
        assert not await registry.reinstate("door")
        with pytest.raises(RevokedError):
            await registry.enrol("door", FIRST.root, replace=True)

    with_registry(registry_url, work)


@pytest.mark.parametrize("is_first_newer", [False, True])
def test_of_a_removed_board_the_newest_revocation_alone_is_taken_back(
    registry_url: str, is_first_newer: bool
) -> None:
    """The older ones are of boards that were replaced: a stolen one stays refused."""
    at = [STOLEN.at + 1, STOLEN.at][:: 1 if is_first_newer else -1]

    async def work(registry: Registry) -> None:
        for each, time in zip((FIRST, SECOND), at, strict=True):
            await registry.enrol("door", each.root, replace=True)
            await registry.revoke("door", Revocation("stolen", time))
        await registry.remove("door")
        newest, older = (FIRST, SECOND)[:: 1 if is_first_newer else -1]
        assert await registry.reinstate("door")
        with pytest.raises(RevokedError):
            await registry.enrol("door", older.root)
        assert await registry.enrol("another name", newest.root)
        # Who asks again means the other one.
        assert await registry.reinstate("door")
        assert await registry.enrol("door", older.root)
        assert not await registry.reinstate("door")

    with_registry(registry_url, work)


def test_the_first_reason_stays(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        await registry.revoke(FIRST.board_id, STOLEN)
        assert await registry.revoke(FIRST.board_id, Revocation("lost", 1_800_000_000))
        record = await registry.get(FIRST.board_id)
        assert record is not None
        assert record.revocation == STOLEN

    with_registry(registry_url, work)


def test_a_board_that_is_not_enrolled_cannot_be_revoked(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        assert not await registry.revoke("nobody", STOLEN)
        assert not await registry.reinstate("nobody")

    with_registry(registry_url, work)


def test_another_board_is_not_concerned(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        await registry.enrol(SECOND.board_id, SECOND.root)
        await registry.revoke(SECOND.board_id, STOLEN)
        assert await failed_checks(registry) == ()
        with pytest.raises(AlreadyEnrolledError):
            await registry.enrol(SECOND.board_id, FIRST.root, replace=True)

    with_registry(registry_url, work)
