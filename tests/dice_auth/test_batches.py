"""Enrolling many boards: all of them or none, in both registries."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from dice_auth import redis_registry
from dice_auth.enrolment import Enrolment
from dice_auth.errors import AlreadyEnrolledError, EnrolmentError, RevokedError
from dice_auth.registry import Registry, Revocation
from dice_auth.registry_url import open_registry
from tests.dice_auth.boards import Board, board
from tests.dice_auth.redis_peer import RedisPeer
from tests.dice_auth.test_registry import with_registry

BOARDS = [board(number) for number in range(1, 7)]


def enrolment(each: Board, board_id: str | None = None, **more: object) -> Enrolment:
    return Enrolment.of(board_id or each.board_id, each.root, **more)  # type: ignore[arg-type]


async def ids(registry: Registry) -> set[str]:
    return {record.board_id async for record in registry.boards()}


def test_all_are_enrolled_and_found_and_progress_is_told(registry_url: str) -> None:
    told: list[int] = []

    async def work(registry: Registry) -> None:
        changed = await registry.enrol_all(map(enrolment, BOARDS), progress=told.append)
        assert changed == len(BOARDS)
        assert told[-1] == len(BOARDS)
        found = await registry.roots_by_key_ids([each.key_id for each in BOARDS] + [bytes(20)])
        assert [root and root.board_id for root in found] == [
            *(each.board_id for each in BOARDS),
            None,
        ]
        assert await registry.enrol_all(map(enrolment, BOARDS)) == 0

    with_registry(registry_url, work)


@pytest.mark.parametrize(
    ("last", "error", "text"),
    [
        (enrolment(BOARDS[0], "x"), AlreadyEnrolledError, "have the same root certificate"),
        (enrolment(BOARDS[5], BOARDS[0].board_id), AlreadyEnrolledError, "in the batch twice"),
        (enrolment(BOARDS[5], "door"), AlreadyEnrolledError, "door is already enrolled, with"),
        (enrolment(board(8), "y"), AlreadyEnrolledError, "already enrolled, as door"),
        (enrolment(board(9)), RevokedError, "is revoked .as 02:.*: lost."),
    ],
)
def test_one_that_cannot_be_means_none_is(
    last: Enrolment, error: type[Exception], text: str, registry_url: str
) -> None:
    async def work(registry: Registry) -> None:
        await registry.enrol("door", board(8).root)
        await registry.enrol(board(9).board_id, board(9).root)
        await registry.revoke(board(9).board_id, Revocation("lost", 1))
        await registry.remove(board(9).board_id)
        with pytest.raises(error, match=text):
            await registry.enrol_all([*map(enrolment, BOARDS[:4]), last])
        assert await ids(registry) == {"door"}
        assert await registry.root_by_key_id(BOARDS[0].key_id) is None

    with_registry(registry_url, work)


def test_an_error_while_boards_are_read_means_none_is_enrolled(registry_url: str) -> None:
    def boards() -> Iterator[Enrolment]:
        yield from map(enrolment, BOARDS[:4])
        raise EnrolmentError("line 5: no")

    async def work(registry: Registry) -> None:
        with pytest.raises(EnrolmentError, match="line 5"):
            await registry.enrol_all(boards())
        assert await ids(registry) == set()
        assert await registry.enrol_all(map(enrolment, BOARDS)) == len(BOARDS)

    with_registry(registry_url, work)


def test_what_was_collected_for_a_batch_that_failed_is_gone_from_redis(
    redis_peer: RedisPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_registry, "_BATCH_PAGE", 2)
    staged: list[object] = []

    def boards() -> Iterator[Enrolment]:
        yield from map(enrolment, BOARDS[:4])
        staged.append(redis_peer.run("KEYS", "dice-auth:batch:*", database=1))
        raise EnrolmentError("line 5: no")

    async def run() -> None:
        async with open_registry(redis_peer.url) as registry:
            with pytest.raises(EnrolmentError):
                await registry.enrol_all(boards())

    asyncio.run(run())
    assert staged != [[]]
    assert redis_peer.run("KEYS", "*", database=1) == []


def test_a_board_with_a_new_root_is_enrolled_anew(
    registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(registry: Registry) -> None:
        async def enrolled_at() -> int | None:
            record = await registry.get("door")
            assert record is not None
            return record.enrolled_at

        for now, root, expected in ((1000, 0, 1000), (2000, 0, 1000), (3000, 1, 3000)):
            monkeypatch.setattr(time, "time", lambda now=now: now)
            await registry.enrol("door", BOARDS[root].root, replace=True, application=str(now))
            assert await enrolled_at() == expected

    with_registry(registry_url, work)


def test_an_empty_batch_is_nothing(registry_url: str) -> None:
    async def work(registry: Registry) -> None:
        assert await registry.enrol_all([]) == 0

    with_registry(registry_url, work)


def test_application_and_labels_are_kept_until_others_are_given(registry_url: str) -> None:
    first = BOARDS[0]

    async def work(registry: Registry) -> None:
        async def details() -> tuple[str, dict[str, str]]:
            record = await registry.get(first.board_id)
            assert record is not None
            assert record.enrolled_at is not None
            return record.application, dict(record.labels)

        labels = {"site": "Zürich", "line": "3"}
        assert await registry.enrol(first.board_id, first.root, application="thermo", labels=labels)
        assert await details() == ("thermo", labels)
        assert not await registry.enrol(first.board_id, first.root)
        assert await details() == ("thermo", labels)
        assert await registry.enrol(first.board_id, first.root, labels={"line": "4"})
        assert await details() == ("thermo", {"line": "4"})
        assert await registry.enrol(first.board_id, first.root, application="", labels={})
        assert await details() == ("", {})
        assert not await registry.enrol(first.board_id, first.root, application="", labels={})

    with_registry(registry_url, work)


@pytest.mark.parametrize(
    "texts",
    [
        {"application": "a\nb"}, {"application": "x" * 65}, {"labels": {"": "x"}},
        {"labels": {"a": "\x1b[31m"}}, {"labels": {"x" * 65: "a"}},
        {"labels": {str(number): "" for number in range(17)}},
    ],
)  # fmt: skip
def test_texts_that_no_terminal_should_show_are_refused(
    texts: dict[str, object], registry_url: str
) -> None:
    async def work(registry: Registry) -> None:
        with pytest.raises(EnrolmentError):
            await registry.enrol("door", BOARDS[0].root, **texts)  # type: ignore[arg-type]
        assert await ids(registry) == set()

    with_registry(registry_url, work)


def test_two_batches_at_once_that_share_a_board_are_both_enrolled(registry_url: str) -> None:
    async def run() -> None:
        async with open_registry(registry_url) as one, open_registry(registry_url) as two:
            changed = await asyncio.gather(
                one.enrol_all(map(enrolment, BOARDS[:4])), two.enrol_all(map(enrolment, BOARDS[3:]))
            )
            assert sum(changed) == len(BOARDS)
            assert await ids(one) == {each.board_id for each in BOARDS}

    asyncio.run(run())
