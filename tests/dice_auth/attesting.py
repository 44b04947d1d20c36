"""Boards with a secret of their own, an attestation server that agents ask about them, and an
agent's requests."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import dice
from dice import certificate, evidence, keys
from dice_auth import server
from dice_auth.registry_url import open_registry
from dice_auth.settings import Settings
from tests.dice_auth.test_server import Address, read_answer

CHANNEL = hashlib.sha256(b"the agent's certificate").digest()
IMAGE_DIGEST = hashlib.sha256(b"the running image").digest()
CODE_HASH = hashlib.sha256(b"the image as signed").digest() * 2
CONFIGURATION = hashlib.sha256(b"the bootloader").digest() + bytes([2]) + bytes(31)
OPEN = Settings()


@dataclass(frozen=True)
class ProvedBoard:
    """One with a UDS; `evidence` is what it answers."""

    board_id: str
    uds: bytes
    inputs: dice.InputValues

    @property
    def root(self) -> bytes:
        return dice.root_certificate(self.uds)

    @property
    def root_key(self) -> bytes:
        return certificate.parse(self.root).public_key

    @property
    def certificate(self) -> bytes:
        return _layer(self)[1]

    @property
    def private_key(self) -> int:
        return _layer(self)[0]

    def evidence(
        self,
        nonce: bytes,
        *,
        private_key: int | None = None,
        presented: bytes | None = None,
        **claims: Any,
    ) -> bytes:
        """With something else in the place of what belongs there."""
        told = {
            "nonce": nonce, "ueid": evidence.ueid_of(self.root_key), "hwmodel": "esp32s3",
            "application": "thermo", "version": "1.2.3", "channel": CHANNEL,
            "image_digest": IMAGE_DIGEST,
        } | claims  # fmt: skip
        key = self.private_key if private_key is None else private_key
        return evidence.encode(key, presented or self.certificate, evidence.Claims(**told))


@cache
def _layer(board: ProvedBoard) -> tuple[int, bytes]:
    """(private key, certificate) of what the board runs."""
    attest, _, der = dice.main_flow(board.uds, board.uds, board.inputs)
    key: int = keys.private_key_from_cdi(attest)  # type: ignore[attr-defined]
    return key, der


@cache
def proved_board(number: int, mode: int = 1, board_id: str = "") -> ProvedBoard:
    uds = hashlib.sha256(b"UDS of board %d" % number).digest()
    inputs = dice.InputValues(code_hash=CODE_HASH, config_value=CONFIGURATION, mode=mode)
    return ProvedBoard(board_id or f"door-{number}", uds, inputs)


def mac_board(mac: str, board_id: str = "") -> ProvedBoard:
    """One whose secret is made from its MAC."""
    inputs = dice.InputValues(code_hash=CODE_HASH, config_value=CONFIGURATION, mode=1)
    uds = dice.uds_from_mac(bytes.fromhex(mac.replace(":", "")))
    return ProvedBoard(board_id or mac, uds, inputs)


BOARD, OTHER = proved_board(1), proved_board(2)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """What a refusal says, in the form of RFC 9457."""
        assert self.headers["content-type"] == "application/problem+json", self
        members: dict[str, Any] = json.loads(self.body)
        assert members["status"] == self.status
        assert members["type"] == "about:blank"
        assert members["title"]
        assert members["detail"]
        return members

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.problem["check"]

    @property
    def verdict(self) -> dict[str, Any]:
        assert self.status == 200, self
        assert self.headers["content-type"] == "application/json"
        members: dict[str, Any] = json.loads(self.body)
        return members


@dataclass(frozen=True)
class Agent:
    """Asks the server at an address. token: its bearer token, if it has one."""

    address: Address
    token: str = ""
    tls: ssl.SSLContext | None = None
    more: dict[str, str] = field(default_factory=dict)

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: attestation"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in ((headers or {}) | self.more).items()]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def send(self, raw: bytes) -> Reply:
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.tls)
        try:
            writer.write(raw)
            await writer.drain()
            status, _, answered, found = await read_answer(reader)
            return Reply(status, answered, found)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def challenge(self) -> bytes:
        reply = await self.ask("GET", "/challenge")
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/octet-stream"
        assert len(reply.body) == 32
        return reply.body

    async def attest(self, data: bytes, channel: bytes = CHANNEL) -> Reply:
        headers = {"Content-Type": "application/eat+cwt", "OTA-Channel": channel.hex()}
        return await self.ask("POST", "/attest", headers, data)

    async def evidence_of(self, board: ProvedBoard = BOARD, **changes: Any) -> bytes:
        """Of a board that has been challenged."""
        return board.evidence(await self.challenge(), **changes)

    async def judge(self, board: ProvedBoard = BOARD, **changes: Any) -> Reply:
        return await self.attest(await self.evidence_of(board, **changes))


@asynccontextmanager
async def attestation_server(
    url: str, settings: Settings = OPEN, host: str = "127.0.0.1"
) -> AsyncIterator[Address]:
    """One that listens on this host; its address on loopback."""
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        server.serve(
            url, host, 0, settings=settings,
            ready=lambda *address: listening.set_result(("127.0.0.1", address[1])),
        )
    )  # fmt: skip
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield listening.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def enrol(url: str, *boards: ProvedBoard) -> None:
    async with open_registry(url) as registry:
        for board in boards:
            await registry.enrol(board.board_id, board.root)


def with_agents(
    url: str,
    work: Callable[..., Awaitable[None]],
    *,
    count: int = 1,
    settings: Settings = OPEN,
    host: str = "127.0.0.1",
    boards: tuple[ProvedBoard, ...] = (BOARD, OTHER),
) -> None:
    """work(agent, ...): an agent for each of so many servers that share the registry, in which
    these boards are enrolled."""

    async def run() -> None:
        await enrol(url, *boards)
        async with asyncio.timeout(30), AsyncExitStack() as stack:
            servers = [
                await stack.enter_async_context(attestation_server(url, settings, host))
                for _ in range(count)
            ]
            await work(*(Agent(address) for address in servers))

    asyncio.run(run())


def events(lines: list[Any], name: str) -> list[dict[str, Any]]:
    """Those of this name among the records of the package's logger."""
    found = [json.loads(line.getMessage()) for line in lines if line.name == "dice_auth"]
    return [line for line in found if line["event"] == name]
