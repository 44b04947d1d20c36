"""Updates that lose their connection once, at a random byte, over protocol 2 and over protocol 1.

A virtual board, the real agent and the real attestation server; between board and agent a relay
that counts what goes to the board (TLS included) and cuts the first connection off. Its buffers
are those of an ESP32's TCP (some 6 KB): what is on the way when the cut comes is what it would be.

`resume_ratio`: bytes sent to the board in all, over the image's, mean of 100 updates of 1.5 MB.
Bar: 1.06. The peer is protocol 1, which starts over.
"""

import asyncio
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean

import dice
from dice_auth.registry_url import open_registry
from ota_service import OtaService, uds
from tests import world
from tests.ota_cli.processes import server
from virtual_esp32.board import VirtualBoard, power_on
from virtual_esp32.efuse import EFuse, format_mac
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

NAME = "resume"
_UPDATES = {2: 100, 1: 20}
_IMAGE_BYTES = 1_500_000
_FLASH_BYTES = 4 * 1024 * 1024
_WINDOW_BYTES = 6 * 1024
_MAC = bytes.fromhex("020000000001")
_UDS = bytes(range(32))


def run() -> dict[str, object]:
    """Measure once."""
    with tempfile.TemporaryDirectory() as name, _servers(Path(name)) as agent:
        ratios = {
            protocol: asyncio.run(_updates(protocol, count, agent))
            for protocol, count in _UPDATES.items()
        }
    return {
        "name": NAME,
        "figures": {"resume_ratio": mean(ratios[2]), "worst_ratio": max(ratios[2])},
        "peers": {"protocol 1": {"resume_ratio": mean(ratios[1]), "worst_ratio": max(ratios[1])}},
    }


@contextmanager
def _servers(folder: Path) -> Iterator[str]:
    """The address of an agent; the board is enrolled by both of its identities."""
    certificate, key = world.authority("test CA").issue()
    image = world.app("2.0.0", size=_IMAGE_BYTES - 8192)
    for name, content in (("agent.pem", certificate), ("agent.key", key), ("new.bin", image)):
        (folder / name).write_bytes(content)
    registry = f"sqlite:///{folder}/boards.sqlite"

    async def enrol() -> None:
        async with open_registry(registry) as boards:
            await boards.enrol("board", dice.root_certificate(_UDS))
            await boards.enrol(format_mac(_MAC), dice.root_certificate(dice.uds_from_mac(_MAC)))

    asyncio.run(enrol())
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as url,
        server(
            "agent", "--firmware", folder / "new.bin", "--cert", folder / "agent.pem",
            "--key", folder / "agent.key", "--dice-auth-url", url, "--listen", "127.0.0.1:0",
        ) as agent,
    ):  # fmt: skip
        yield agent


async def _updates(protocol: int, count: int, agent: str) -> list[float]:
    """For each update, the bytes sent to the board over the image's."""
    chance = random.Random(protocol)
    first = flash_content(_FLASH_BYTES, world.app("1.0.0"))
    image = len(world.app("2.0.0", size=_IMAGE_BYTES - 8192))
    # Protocol 1 cannot tell a connection lost before the first record of firmware from a refusal.
    least = 1 if protocol == 2 else 32 * 1024
    ratios = []
    for _ in range(count):
        board = VirtualBoard(NorFlash(MemoryStorage(first)), EFuse(_MAC, chip=world.CHIP))
        if protocol == 2:
            board.boot()
            uds.write_uds(board, _UDS)
        async with _Relay(agent, cut_at=chance.randrange(least, image)) as relay:
            version = await power_on(board, _application(protocol, relay.address))
        if version != "2.0.0" or relay.connections != 2:
            raise RuntimeError(f"{version} after {relay.connections} connections")
        ratios.append(relay.sent / image)
    return ratios


def _application(protocol: int, agent: str):  # type: ignore[no-untyped-def]
    identity = "provisioned" if protocol == 2 else "mac"
    settings = {
        "agent_ca": world.authority("test CA").ca, "identity": identity, "retry_delay_s": 0.1,
    }  # fmt: skip

    async def application(board: VirtualBoard) -> str:
        service = OtaService(board, settings)
        if await service.confirm() == "confirmed":
            return str(service.info()["version"])
        await service.ota_service_begin(agent)
        return "not rebooted"

    return application


class _Relay:
    """Between a board and the agent. The first connection ends after cut_at bytes to the board.

    sent: bytes to the board, all connections together.
    """

    def __init__(self, agent: str, cut_at: int) -> None:
        host, _, port = agent.rpartition(":")
        self._agent = host, int(port)
        self._left: int | None = cut_at
        self.sent = 0
        self.connections = 0

    async def __aenter__(self) -> "_Relay":
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WINDOW_BYTES)
        listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._carry, sock=listener)
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _carry(self, board: asyncio.StreamReader, to_board: asyncio.StreamWriter) -> None:
        self.connections += 1
        left, self._left = self._left, None
        to_board.transport.set_write_buffer_limits(0)
        agent, to_agent = await asyncio.open_connection(*self._agent, limit=_WINDOW_BYTES)
        up = asyncio.create_task(_copy(board, to_agent))
        try:
            while data := await agent.read(1024):
                if left is not None:
                    data, left = data[:left], left - len(data)
                self.sent += len(data)
                to_board.write(data)
                await to_board.drain()
                if left is not None and left <= 0:
                    break
        except OSError:
            pass
        finally:
            up.cancel()
            for writer in (to_board, to_agent):
                writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
