"""Somebody in the middle with a genuine certificate of his own passes everything on, between a real
board and the real agent and attestation server: the evidence is for him, not for the agent."""

import asyncio
import json
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dice
from dice_auth.registry_url import open_registry
from ota_service import OtaError, OtaService, uds
from tests import world
from tests.ota_cli.processes import server
from virtual_esp32.board import VirtualBoard, power_on

SECRET = bytes(range(32))
NEW = world.app("2.0.0")


@contextmanager
def real_agent(folder: Path, log: list[str]) -> Iterator[str]:
    certificate, key = world.authority("test CA").issue()
    for name, content in (("agent.pem", certificate), ("agent.key", key), ("new.bin", NEW)):
        (folder / name).write_bytes(content)
    registry = f"sqlite:///{folder}/boards.sqlite"

    async def enrol() -> None:
        async with open_registry(registry) as boards:
            await boards.enrol("door", dice.root_certificate(SECRET))

    asyncio.run(enrol())
    with (
        server(
            "attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0", log=log
        ) as url,
        server(
            "agent", "--firmware", folder / "new.bin", "--cert", folder / "agent.pem",
            "--key", folder / "agent.key", "--dice-auth-url", url, "--listen", "127.0.0.1:0",
        ) as agent,
    ):  # fmt: skip
        yield agent


class Relay:
    """certificate, key: what boards are shown. passed: bytes from the agent to the board."""

    def __init__(self, agent: str, certificate: bytes, key: bytes) -> None:
        host, _, port = agent.rpartition(":")
        self._agent = host, int(port)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(certificate + key)
            file.flush()
            self._tls.load_cert_chain(file.name)
        self.passed = b""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=self._tls)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def _take(self, board: asyncio.StreamReader, to_board: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(board, to_board))
        self._tasks.add(task)

    async def _carry(self, board: asyncio.StreamReader, to_board: asyncio.StreamWriter) -> None:
        trust = ssl.create_default_context(cadata=world.authority("test CA").ca_pem.decode())
        agent, to_agent = await asyncio.open_connection(
            *self._agent, ssl=trust, server_hostname="ota-agent"
        )

        ways = [
            asyncio.create_task(self._copy(board, to_agent)),
            asyncio.create_task(self._copy(agent, to_board, keep=True)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (to_board, to_agent):
            writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bool = False
    ) -> None:
        while data := await reader.read(4096):
            self.passed += data if keep else b""
            writer.write(data)
            await writer.drain()


async def update(board: VirtualBoard, agent: str) -> str:
    """The version that runs in the end. Raises OtaError."""
    settings = {
        "agent_ca": world.authority("test CA").ca, "identity": "provisioned", "attempts": 2,
        "retry_delay_s": 0.1,
    }  # fmt: skip

    async def application(powered: VirtualBoard) -> str:
        service = OtaService(powered, settings)
        if await service.confirm() != "confirmed":
            await service.ota_service_begin(agent)
        return str(service.info()["version"])

    version: str = await power_on(board, application)
    return version


def provisioned_board() -> VirtualBoard:
    board = world.board(world.app("1.0.0"))
    uds.write_uds(board, SECRET)
    return board


def flash(board: VirtualBoard) -> tuple[bytes, bytes, str]:
    """Both slots, and which one boots."""
    return (
        world.slot_bytes(board, "ota_0"),
        world.slot_bytes(board, "ota_1"),
        board.running_partition().info()[4],
    )


@pytest.mark.parametrize("own", ["a certificate of his own", "the agent's own certificate"])
def test_evidence_that_is_passed_on_is_worth_nothing_but_with_the_agents_key(
    own: str, tmp_path: Path
) -> None:
    """With the agent's key he is the agent: what he then gets is what the board gets."""
    log: list[str] = []

    async def run(agent: str) -> None:
        board = provisioned_board()
        before = flash(board)
        if own == "the agent's own certificate":
            pair = (tmp_path / "agent.pem").read_bytes(), (tmp_path / "agent.key").read_bytes()
        else:
            pair = world.authority("test CA").issue()
        async with Relay(agent, *pair) as relay:
            if own == "the agent's own certificate":
                assert await update(board, relay.address) == "2.0.0"
                return
            with pytest.raises(OtaError) as raised:
                await update(board, relay.address)
        assert raised.value.code == "attestation-refused"
        assert b"channel" in relay.passed
        assert NEW[:64] not in relay.passed
        assert len(relay.passed) < 4096
        # The flash holds what it held, the old firmware boots, and the next update succeeds.
        assert flash(board) == before
        assert await update(board, agent) == "2.0.0"
        assert world.slot_bytes(board, "ota_1").startswith(NEW)

    with real_agent(tmp_path, log) as agent:
        asyncio.run(asyncio.wait_for(run(agent), 40))
    refusals = [json.loads(line) for line in log if '"attestation-refused"' in line]
    assert len(refusals) == (own == "a certificate of his own")
    assert all("channel" in refusal["failed"] for refusal in refusals)
