"""The real attestation server killed, stopped and started again while boards come: nobody is let in
meanwhile, and the agent recovers by itself."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ota_agent.conftest import Identity
from tests.ota_agent.running_agent import IMAGE, RunningAgent, running_agent, settings_for
from tests.ota_agent.scene import Scene
from tests.ota_cli.processes import COMMAND, done

MAC = "02:00:00:00:00:01"  # the board of board_certificate


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


async def recovered(here: Scene, presented: bytes) -> None:
    """Boards that try again are served in the end, without a restart of the agent."""
    async with asyncio.timeout(15):
        while await here.update(presented) != IMAGE:
            continue


def test_killed_during_a_load_it_lets_nobody_in_and_the_agent_recovers(
    tmp_path: Path, identity: Identity, board_certificate: bytes, server: AttestationServer
) -> None:
    async def run() -> None:
        settings = settings_for(tmp_path, identity, server.url, attestation_timeout_s=2.0)
        async with running_agent(settings) as agent:
            here = scene_of(agent, identity)
            assert await here.update(board_certificate) == IMAGE
            load = [asyncio.create_task(here.update(board_certificate)) for _ in range(40)]
            await agent.next_session()
            server.process.send_signal(signal.SIGKILL)
            assert set(await asyncio.gather(*load)) <= {IMAGE, b""}
            server.process.wait()
            while not agent.sessions.empty():
                agent.sessions.get_nowait()
            assert await here.update(board_certificate) == b""
            line = await agent.next_session()
            assert line["outcome"] == "attestation-unavailable"
            assert line["reason"].startswith("attestation server: ")
            await asyncio.to_thread(server.restart)
            await recovered(here, board_certificate)

    asyncio.run(run())


def test_stopped_it_lets_nobody_in_and_continued_it_serves_again(
    tmp_path: Path, identity: Identity, board_certificate: bytes, server: AttestationServer
) -> None:
    async def run() -> None:
        settings = settings_for(tmp_path, identity, server.url, attestation_timeout_s=0.4)
        async with running_agent(settings) as agent:
            here = scene_of(agent, identity)
            assert await here.update(board_certificate) == IMAGE
            await agent.next_session()
            server.process.send_signal(signal.SIGSTOP)
            try:
                received = await asyncio.gather(*(here.update(board_certificate) for _ in range(8)))
                assert received == [b""] * 8
                reasons = [(await agent.next_session())["reason"] for _ in range(8)]
                assert all("no answer within 0.4 s" in reason for reason in reasons)
            finally:
                server.process.send_signal(signal.SIGCONT)
            await recovered(here, board_certificate)

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
