"""One client that asks for challenge after challenge uses up what is its own, not the fleet's."""

import asyncio
from pathlib import Path

import pytest

from ota_agent import conversation
from ota_agent import service as service_module
from tests.ota_agent.attested_scene import HttpBoard, Response, attested_scene, http


def test_challenges_of_one_address_are_limited_over_all_its_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "CHALLENGE_BURST_S", 3.0)

    async def run() -> None:
        async with attested_scene(tmp_path, challenge_rate=1) as here:

            def work(board: HttpBoard) -> list[Response]:
                return [board.ask("GET", "/v2/challenge") for _ in range(2)]

            found = [each for _ in range(4) for each in await here.talk(work)]
            refused = [each for each in found if each.status == 429]
            # Three at once, and one or so more while the test goes on.
            assert 3 <= len(refused) <= 5
            assert refused[0].headers["retry-after"] == "10"
            assert len(here.server.nonces) == 8 - len(refused)

    asyncio.run(run())


def test_a_full_store_of_challenges_is_no_server_that_is_down(tmp_path: Path) -> None:
    """Boards that have their challenge, and those of protocol 1, are let in meanwhile."""

    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            here.server.challenge = http(429, "application/problem+json", b"{}")

            def ask(board: HttpBoard) -> list[int]:
                return [board.ask("GET", "/v2/challenge").status for _ in range(8)]

            assert await here.talk(ask) == [503] * 8
            assert len(here.server.heads("/challenge")) == 8, "each is asked once"
            assert (await here.talk(lambda board: board.attest())).status == 200
            here.server.challenge = None
            assert (await here.talk(lambda board: board.ask("GET", "/v2/challenge"))).status == 200

    asyncio.run(run())


def test_who_proves_nothing_may_not_stay_however_much_he_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_PROOF_S", 0.5)
    monkeypatch.setattr(conversation, "_MOST_REQUESTS", 1_000_000)

    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> int:
                while (status := board.ask("GET", "/v2/nothing").status) == 404:
                    pass
                return status

            assert await here.talk(work) == 408

            def silent(board: HttpBoard) -> bytes:
                board.ask("GET", "/v2/nothing")
                board.socket.settimeout(5)
                return board.socket.recv(1)

            assert await here.talk(silent) == b""

    asyncio.run(run())
