"""A challenge is good for one answer, within its minute, at whichever server of one registry."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dice_auth import registry
from dice_auth.registry_url import open_registry
from tests.dice_auth.attesting import BOARD, OTHER, Agent, with_agents
from tests.dice_auth.redis_peer import RedisPeer

NONCES = "dice-auth:nonces"


def test_challenges_are_never_the_same(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        assert len({await agent.challenge() for _ in range(20)}) == 20

    with_agents(registry_url, work)


def test_replayed_evidence_is_refused(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        assert (await agent.attest(data)).status == 200
        for _ in range(3):
            assert (await agent.attest(data)).refusal == (401, "nonce")

    with_agents(registry_url, work)


def test_evidence_replayed_at_another_replica_is_refused(registry_url: str) -> None:
    async def work(one: Agent, two: Agent) -> None:
        data = await one.evidence_of()
        assert (await two.attest(data)).status == 200  # any replica knows any nonce
        assert (await one.attest(data)).refusal == (401, "nonce")
        assert (await two.attest(data)).refusal == (401, "nonce")

    with_agents(registry_url, work, count=2)


def test_of_all_who_use_a_nonce_at_once_at_two_replicas_one_is_accepted(registry_url: str) -> None:
    async def work(one: Agent, two: Agent) -> None:
        for _ in range(10):
            data = await one.evidence_of()
            replies = await asyncio.gather(*(each.attest(data) for each in (one, two) * 4))
            statuses = sorted(reply.status for reply in replies)
            assert statuses == [200] + [401] * 7, statuses
            assert {r.problem["check"] for r in replies if r.status == 401} == {"nonce"}

    with_agents(registry_url, work, count=2)


def test_many_boards_at_once_have_each_its_own_nonce(registry_url: str) -> None:
    async def work(one: Agent, two: Agent) -> None:
        replies = await asyncio.gather(*(agent.judge() for agent in (one, two) * 20))
        assert {reply.status for reply in replies} == {200}

    with_agents(registry_url, work, count=2)


def test_a_nonce_that_the_client_has_made_up_is_refused(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        await agent.challenge()
        for nonce in (bytes(32), os.urandom(32)):
            assert (await agent.attest(BOARD.evidence(nonce))).refusal == (401, "nonce")

    with_agents(registry_url, work)


def test_a_nonce_is_used_up_by_evidence_that_is_refused(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        nonce = await agent.challenge()
        stolen = BOARD.evidence(nonce, private_key=OTHER.private_key)
        assert (await agent.attest(stolen)).refusal == (401, "evidence-signature")
        assert (await agent.attest(BOARD.evidence(nonce))).refusal == (401, "nonce")

    with_agents(registry_url, work)


def test_an_expired_nonce_is_refused(registry_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(agent: Agent) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(registry, "NONCE_LIFETIME_S", 0)
            data = await agent.evidence_of()
            assert (await agent.attest(data)).refusal == (401, "nonce")
        assert (await agent.attest(data)).refusal == (401, "nonce")
        assert (await agent.judge()).status == 200

    with_agents(registry_url, work)


Shift = Callable[[int], None]


@pytest.fixture
def age(registry_url: str, request: pytest.FixtureRequest) -> Shift:
    """Makes the one nonce in the registry so many milliseconds older."""

    def in_sqlite(milliseconds: int) -> None:
        connection = sqlite3.connect(registry_url.removeprefix("sqlite:///"))
        with connection:
            changed = connection.execute(
                "UPDATE nonces SET expires_at = expires_at - ?", (milliseconds,)
            )
            assert changed.rowcount == 1
        connection.close()

    def in_redis(milliseconds: int) -> None:
        peer: RedisPeer = request.getfixturevalue("redis_peer")
        (nonce,) = peer.run("ZRANGE", NONCES, "0", "-1", database=1)  # type: ignore[misc]
        peer.run("ZINCRBY", NONCES, str(-milliseconds), nonce, database=1)

    return in_sqlite if registry_url.startswith("sqlite") else in_redis


@pytest.mark.parametrize(("milliseconds", "status"), [(50_000, 200), (60_000, 401)])
def test_a_nonce_lives_for_a_minute(
    registry_url: str, age: Shift, milliseconds: int, status: int
) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        age(milliseconds)
        assert (await agent.attest(data)).status == status

    with_agents(registry_url, work)


def test_a_nonce_of_a_clock_that_was_set_back_is_refused(registry_url: str, age: Shift) -> None:
    """It would be good for an hour and a minute."""

    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        age(-3_600_000)
        assert (await agent.attest(data)).refusal == (401, "nonce")

    with_agents(registry_url, work)


def test_a_flood_of_challenges_is_bounded_and_passes(
    registry_url: str, age: Shift, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")

    async def work(agent: Agent) -> None:
        monkeypatch.setattr(registry, "MOST_NONCES", 3)
        early = await agent.evidence_of()
        await agent.challenge()
        await agent.challenge()
        reply = await agent.ask("GET", "/challenge")
        assert (reply.status, reply.problem["title"]) == (429, "Too Many Requests")
        assert int(reply.headers["retry-after"]) > 0
        # What was issued before is good, and makes place for the next.
        assert (await agent.attest(early)).status == 200
        await agent.challenge()
        assert (await agent.ask("GET", "/challenge")).status == 429

    with_agents(registry_url, work)
    assert "too-many-challenges" in caplog.text


def test_expired_nonces_make_place(registry_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(registry, "MOST_NONCES", 2)
        async with open_registry(registry_url) as boards:
            with monkeypatch.context() as patched:
                patched.setattr(registry, "NONCE_LIFETIME_S", 0)
                for _ in range(10):
                    assert await boards.issue_nonce(os.urandom(32))
            assert await boards.issue_nonce(os.urandom(32))
            assert await boards.issue_nonce(os.urandom(32))
            assert not await boards.issue_nonce(os.urandom(32))

    asyncio.run(run())


def test_what_is_used_or_old_is_no_longer_stored_in_sqlite(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count() -> int:
        connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        try:
            return int(connection.execute("SELECT count(*) FROM nonces").fetchone()[0])
        finally:
            connection.close()

    async def work(agent: Agent) -> None:
        await agent.judge()
        assert count() == 0
        with monkeypatch.context() as patched:
            patched.setattr(registry, "NONCE_LIFETIME_S", 0)
            await agent.challenge()
        await agent.challenge()
        assert count() == 1

    with_agents(sqlite_url, work)


def test_redis_forgets_nonces_by_itself_and_the_c_tools_do_not_see_them(
    redis_peer: RedisPeer,
) -> None:
    async def work(agent: Agent) -> None:
        await agent.challenge()
        left = redis_peer.run("PTTL", NONCES, database=1)
        assert isinstance(left, int)
        assert 55_000 < left <= 60_000
        assert sorted(redis_peer.run("KEYS", "*")) == [  # type: ignore[call-overload]
            BOARD.board_id.encode(), OTHER.board_id.encode(),
        ]  # fmt: skip

    with_agents(redis_peer.url, work)


def test_a_file_of_the_version_before_takes_nonces_and_keeps_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"

    async def make() -> None:
        async with open_registry(f"sqlite:///{path}") as boards:
            await boards.enrol(BOARD.board_id, BOARD.root)
            await boards.record([registry.Observation(BOARD.board_id, "accepted", 1, 2)])

    asyncio.run(make())
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE nonces; ALTER TABLE observations DROP COLUMN last_version;"
        "PRAGMA user_version = 2"
    )
    connection.close()

    async def look() -> None:
        async with open_registry(f"sqlite:///{path}") as boards:
            record = await boards.get(BOARD.board_id)
            assert record is not None
            assert (record.first_seen, record.last_seen, record.last_version) == (1, 2, None)
            assert await boards.issue_nonce(bytes(32))
            assert await boards.use_nonce(bytes(32))

    asyncio.run(look())
