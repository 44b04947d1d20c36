"""Where the registry cannot answer there is neither a challenge nor a verdict: 503, and the way
back is open as soon as it can."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from dice_auth import sqlite_registry
from dice_auth.errors import RegistryError
from dice_auth.registry_url import open_registry
from dice_auth.sqlite_registry import SqliteRegistry
from tests.dice_auth.asking import eventually
from tests.dice_auth.attesting import BOARD, Agent, Reply, with_agents
from tests.dice_auth.faulty_redis import FaultyRedis, faulty_redis


def is_unavailable(reply: Reply) -> bool:
    assert reply.status == 503, reply
    assert int(reply.headers["retry-after"]) > 0
    return bool(reply.problem["detail"])


def test_a_file_that_is_gone_is_503_and_its_return_is_enough(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))

    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        path.rename(path.with_suffix(".away"))
        assert is_unavailable(await agent.ask("GET", "/challenge"))
        assert is_unavailable(await agent.attest(data))
        path.with_suffix(".away").rename(path)
        assert (await agent.attest(data)).status == 200
        assert (await agent.judge()).status == 200

    with_agents(sqlite_url, work)


def test_a_locked_file_is_503(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_registry, "_WRITE_BUSY_S", 0.05)

    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert is_unavailable(await agent.ask("GET", "/challenge"))
        assert is_unavailable(await agent.attest(data))
        other.close()
        assert (await agent.attest(data)).status == 200

    with_agents(sqlite_url, work)


def test_a_file_without_our_tables_is_503(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        connection.execute("DROP TABLE nonces")
        connection.close()
        assert is_unavailable(await agent.ask("GET", "/challenge"))
        assert is_unavailable(await agent.attest(data))

    with_agents(sqlite_url, work)


def test_who_waited_for_a_transaction_that_failed_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_registry, "_WRITE_BUSY_S", 0.05)

    async def run() -> None:
        async with SqliteRegistry(tmp_path / "registry.db") as registry:
            other = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            outcomes = await asyncio.gather(
                *(registry.issue_nonce(os.urandom(32)) for _ in range(20)), return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes} == {RegistryError}
            other.close()
            assert all(
                await asyncio.gather(*(registry.issue_nonce(os.urandom(32)) for _ in range(20)))
            )

    asyncio.run(run())


def test_who_gives_up_waiting_leaves_the_others_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with SqliteRegistry(tmp_path / "registry.db") as registry:
            tasks = [asyncio.create_task(registry.issue_nonce(os.urandom(32))) for _ in range(9)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert outcomes[1::2] == [True] * 4

    asyncio.run(run())


@pytest.fixture
def peer(tmp_path: Path):  # type: ignore[no-untyped-def]
    with faulty_redis(tmp_path) as redis:
        yield redis


def test_redis_stopped_is_503_and_started_again_is_enough(peer: FaultyRedis) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        peer.keep_data()
        peer.stop()
        assert is_unavailable(await agent.ask("GET", "/challenge"))
        assert is_unavailable(await agent.attest(data))
        peer.start()

        async def is_back() -> bool:
            return (await agent.ask("GET", "/challenge")).status == 200

        await eventually(is_back, 10)
        assert (await agent.judge()).status == 200

    with_agents(peer.url, work)


def test_redis_that_lost_everything_knows_no_nonce(peer: FaultyRedis) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        peer.run("FLUSHDB", database=1)
        reply = await agent.attest(data)
        # Its index of boards is gone too, and until that is back nobody is judged.
        assert reply.status == 503 or reply.refusal == (401, "nonce")
        assert (await agent.attest(data)).status != 200

    with_agents(peer.url, work)


def test_redis_without_our_database_is_503(peer: FaultyRedis) -> None:
    """It has 16: beside the last one of theirs there is none for us."""

    async def run() -> None:
        async with open_registry(f"{peer.url}/15") as registry:
            for work in (registry.issue_nonce(bytes(32)), registry.use_nonce(bytes(32))):
                with pytest.raises(RegistryError, match="DB index is out of range"):
                    await work

    asyncio.run(run())


def test_a_bug_is_500_and_no_verdict(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise LookupError("a bug")

    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        with monkeypatch.context() as patched:
            patched.setattr("dice_auth.appraisal.judge", broken)
            assert (await agent.attest(data)).status == 500
        # The attempt has used it up.
        assert (await agent.attest(data)).refusal == (401, "nonce")
        assert (await agent.judge(BOARD)).status == 200

    with_agents(sqlite_url, work)
