"""What both registries do alike."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dice_auth import redis_registry, sqlite_registry
from dice_auth.errors import AlreadyEnrolledError, EnrolmentError
from dice_auth.registry import Registry, Revocation
from tests.dice_auth.boards import board
from tests.dice_auth.following import followed

FIRST, SECOND = board(1), board(2)


def with_registry(url: str, work: Callable[[Registry], Awaitable[None]]) -> None:
    async def run() -> None:
        async with followed(url) as registry:
            await work(registry)

    asyncio.run(run())


def test_an_enrolled_board_is_found_by_its_id_and_by_its_key_id(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        assert await registry.enrol(FIRST.board_id, FIRST.root)
        by_key_id = await registry.root_by_key_id(FIRST.key_id)
        assert by_key_id is not None
        assert by_key_id.board_id == FIRST.board_id
        assert by_key_id.root == FIRST.root
        assert not by_key_id.revoked
        record = await registry.get(FIRST.board_id)
        assert record is not None
        assert (record.root, record.key_id) == (FIRST.root, FIRST.key_id)

    with_registry(registry_url, work)


def test_what_was_enrolled_is_there_when_the_registry_is_opened_again(registry_url: str) -> None:
    async def enrol(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)

    async def look(registry: Registry) -> None:
        assert [record.board_id async for record in registry.boards()] == [FIRST.board_id]

    with_registry(registry_url, enrol)
    with_registry(registry_url, look)


def test_an_unknown_board_is_not_found(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        assert await registry.get(SECOND.board_id) is None
        assert await registry.root_by_key_id(SECOND.key_id) is None
        assert await registry.root_by_key_id(b"") is None

    with_registry(registry_url, work)


def test_enrolling_the_same_board_again_changes_nothing(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        assert await registry.enrol(FIRST.board_id, FIRST.root)
        assert not await registry.enrol(FIRST.board_id, FIRST.root)
        assert len([record async for record in registry.boards()]) == 1

    with_registry(registry_url, work)


def test_another_root_for_an_enrolled_id_is_refused_unless_asked_for(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol("door", FIRST.root)
        with pytest.raises(AlreadyEnrolledError, match="door is already enrolled"):
            await registry.enrol("door", SECOND.root)
        found = await registry.get("door")
        assert found is not None
        assert found.root == FIRST.root

        assert await registry.enrol("door", SECOND.root, replace=True)
        assert await registry.root_by_key_id(FIRST.key_id) is None
        found = await registry.root_by_key_id(SECOND.key_id)
        assert found is not None
        assert found.board_id == "door"

    with_registry(registry_url, work)


def test_a_root_is_not_enrolled_under_two_ids(registry_url: str) -> None:
    """Removing one of them would leave the board accepted."""

    async def work(registry: Registry) -> None:
        await registry.enrol("aa:bb:cc:dd:ee:ff", FIRST.root)
        with pytest.raises(AlreadyEnrolledError, match="as aa:bb:cc:dd:ee:ff"):
            await registry.enrol("AA:BB:CC:DD:EE:FF", FIRST.root)

    with_registry(registry_url, work)


def test_a_removed_board_is_gone(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        await registry.enrol(SECOND.board_id, SECOND.root)
        assert await registry.remove(FIRST.board_id)
        assert not await registry.remove(FIRST.board_id)
        assert await registry.get(FIRST.board_id) is None
        assert await registry.root_by_key_id(FIRST.key_id) is None
        assert await registry.root_by_key_id(SECOND.key_id) is not None

    with_registry(registry_url, work)


def test_a_removed_board_can_be_enrolled_again(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        await registry.remove(FIRST.board_id)
        assert await registry.enrol(FIRST.board_id, FIRST.root)
        assert await registry.root_by_key_id(FIRST.key_id) is not None

    with_registry(registry_url, work)


def test_all_boards_are_listed_when_they_take_several_pages(
    registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_registry, "_PAGE_ROWS", 2)
    monkeypatch.setattr(redis_registry, "_PAGE_KEYS", 2)
    enrolled = [board(number) for number in range(1, 6)]

    async def work(registry: Registry) -> None:
        for each in enrolled:
            await registry.enrol(each.board_id, each.root)
        listed = {record.board_id async for record in registry.boards()}
        assert listed == {each.board_id for each in enrolled}

    with_registry(registry_url, work)


@pytest.mark.parametrize("board_id", ["", "a" * 129, "line\nbreak", "null\0"])
def test_an_id_that_cannot_be_one_is_refused(registry_url: str, board_id: str) -> None:
    async def work(registry: Registry) -> None:
        with pytest.raises(EnrolmentError, match="board id"):
            await registry.enrol(board_id, FIRST.root)

    with_registry(registry_url, work)


@pytest.mark.parametrize("root", [b"", b"\x30\x00", FIRST.root[:-1], b"not a certificate"])
def test_a_root_that_is_no_certificate_is_refused(registry_url: str, root: bytes) -> None:
    async def work(registry: Registry) -> None:
        with pytest.raises(EnrolmentError, match="root certificate of door"):
            await registry.enrol("door", root)
        assert await registry.get("door") is None

    with_registry(registry_url, work)


def test_a_boards_own_certificate_is_not_enrolled_as_a_root(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        with pytest.raises(EnrolmentError, match="not a root"):
            await registry.enrol(FIRST.board_id, FIRST.certificate)

    with_registry(registry_url, work)


def test_an_id_that_is_not_utf_8_is_nobodys(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        board_id = b"\xff".decode("utf-8", "surrogateescape")
        assert await registry.get(board_id) is None
        assert not await registry.remove(board_id)
        assert await registry.revoke(board_id, Revocation("stolen", 1)) is None
        assert not await registry.reinstate(board_id)

    with_registry(registry_url, work)
