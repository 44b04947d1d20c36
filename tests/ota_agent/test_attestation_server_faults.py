"""The real attestation server killed, stopped and started again while boards come: nobody is let in
meanwhile, and the agent recovers by itself."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ota_agent.conftest import Identity
from tests.ota_agent.running_agent import IMAGE, RunningAgent, running_agent, settings_for
from tests.ota_agent.scene import Scene
from tests.ota_cli.processes import COMMAND, done

MAC = "02:00:00:00:00:01"  # the board of board_certificate
BOARDS = 6  # at a time


class AttestationServer:
    """`ota-service attest serve` on a port of its own, with one board enrolled."""

    def __init__(self, folder: Path) -> None:
        self._registry = f"sqlite:///{folder}/boards.sqlite"
        done("submit", MAC, "--registry", self._registry)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{self._address}"
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [COMMAND, "attest", "serve", "--registry", self._registry, "--listen", self._address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Until it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def restart(self) -> None:
        self.end()
        self.process = self._start()


@contextmanager
def attestation_server(folder: Path) -> Iterator[AttestationServer]:
    server = AttestationServer(folder)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AttestationServer]:
    with attestation_server(tmp_path) as running:
        yield running


def scene_of(agent: RunningAgent, identity: Identity) -> Scene:
    return Scene(agent, None, identity.certificate)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Visit:
    """Of one board: when, and what it received."""

    began: float
    ended: float
    received: bytes

    @property
    def is_served(self) -> bool:
        return self.received == IMAGE


class Load:
    """Boards that come again as soon as they are gone."""

    def __init__(self, here: Scene, presented: bytes) -> None:
        self._here = here
        self._presented = presented
        self._news = asyncio.Event()
        self._goes_on = True
        self.visits: list[Visit] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._board() for _ in range(BOARDS)))

    async def _board(self) -> None:
        time = asyncio.get_running_loop().time
        while self._goes_on:
            began = time()
            received = await self._here.update(self._presented)
            self.visits.append(Visit(began, time(), received))
            self._news.set()

    def end(self) -> None:
        self._goes_on = False

    async def until(self, count: int, is_so: Callable[[Visit], bool]) -> None:
        """So many visits have gone so."""
        async with asyncio.timeout(15):
            while sum(map(is_so, self.visits)) < count:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def load(here: Scene, presented: bytes) -> AsyncIterator[Load]:
    boards = Load(here, presented)
    task = asyncio.create_task(boards.run())
    try:
        yield boards
    finally:
        boards.end()
        await task


async def see_a_fault_through(
    here: Scene, presented: bytes, fault: Callable[[], None], mend: Callable[[], None]
) -> list[dict[str, Any]]:
    """Boards come before, during and after the fault; every session's log line."""
    time = asyncio.get_running_loop().time
    async with load(here, presented) as boards:
        await boards.until(2 * BOARDS, lambda visit: visit.is_served)
        await asyncio.to_thread(fault)
        since = time()
        await boards.until(3 * BOARDS, lambda visit: visit.began > since)
        until = time()
        await asyncio.to_thread(mend)
        mended = time()
        await boards.until(2 * BOARDS, lambda visit: visit.began > mended and visit.is_served)
    assert {visit.received for visit in boards.visits} == {IMAGE, b""}
    meanwhile = [each for each in boards.visits if each.began > since and each.ended < until]
    assert not any(visit.is_served for visit in meanwhile)
    assert len(meanwhile) >= 2 * BOARDS
    lines = [await here.agent.next_session() for _ in boards.visits]
    sent = [line for line in lines if line["outcome"] == "sent"]
    assert len(sent) == sum(visit.is_served for visit in boards.visits)
    for line in lines:
        if line["outcome"] != "sent":
            assert line["outcome"] == "attestation-unavailable"
            assert line["reason"].startswith("attestation server: ")
            assert line["bytes"] == 0
    return lines


def reasons_of(lines: list[dict[str, Any]]) -> str:
    return "\n".join(line["reason"] for line in lines)


def test_killed_during_a_load_it_lets_nobody_in_and_the_agent_recovers(
    tmp_path: Path, identity: Identity, board_certificate: bytes, server: AttestationServer
) -> None:
    async def run() -> None:
        async with running_agent(settings_for(tmp_path, identity, server.url)) as agent:
            here = scene_of(agent, identity)
            lines = await see_a_fault_through(here, board_certificate, server.kill, server.restart)
            assert "Connect call failed" in reasons_of(lines)
            assert "not asked again" in reasons_of(lines)

    asyncio.run(run())


def test_stopped_during_a_load_it_lets_nobody_in_and_continued_it_serves_again(
    tmp_path: Path, identity: Identity, board_certificate: bytes, server: AttestationServer
) -> None:
    def mend() -> None:
        server.process.send_signal(signal.SIGCONT)

    async def run() -> None:
        settings = settings_for(tmp_path, identity, server.url, attestation_timeout_s=0.4)
        async with running_agent(settings) as agent:
            here = scene_of(agent, identity)
            try:
                lines = await see_a_fault_through(here, board_certificate, server.stop, mend)
            finally:
                mend()
            assert "no answer within 0.4 s" in reasons_of(lines)

    asyncio.run(run())


def test_a_board_that_is_revoked_meanwhile_is_refused_at_once(
    tmp_path: Path, identity: Identity, board_certificate: bytes, server: AttestationServer
) -> None:
    """The agent remembers no verdict."""

    async def run() -> None:
        async with running_agent(settings_for(tmp_path, identity, server.url)) as agent:
            here = scene_of(agent, identity)
            assert await here.update(board_certificate) == IMAGE
            await agent.next_session()
            await asyncio.to_thread(
                done, "del", MAC, "--registry", f"sqlite:///{tmp_path}/boards.sqlite"
            )
            assert await here.update(board_certificate) == b""
            assert (await agent.next_session())["outcome"] == "refused"

    asyncio.run(run())
