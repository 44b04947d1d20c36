"""A fleet of virtual boards in memory, of both protocols, some of which must get nothing."""

import asyncio
import secrets
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dice
from ota_service import OtaError, OtaService, uds
from tests import world
from virtual_esp32.board import VirtualBoard

_COMMAND = str(Path(sys.executable).parent / "ota-service")
_AT_ONCE = 48
# What the component does between attempts of one update.
_RETRY_DELAY_S = 0.2


@dataclass
class FleetBoard:
    """protocol: 1, with the identity that follows from the MAC, or 2, provisioned. standing:
    `ours`, `stranger` (never enrolled) or `revoked`. results: of its tries so far, `updated` or
    an error's code."""

    number: int
    protocol: int
    standing: str
    results: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mac = bytes.fromhex("240ac4") + self.number.to_bytes(3, "big")
        self.name = self.mac.hex(":") if self.protocol == 1 else f"board-{self.number}"
        self._secret = secrets.token_bytes(32)
        self._board: VirtualBoard | None = None

    @property
    def is_ours(self) -> bool:
        return self.standing == "ours"

    @property
    def root(self) -> str:
        return b64encode(dice.root_certificate(self._secret)).decode()

    def power(self) -> VirtualBoard:
        """The board with the firmware it left the factory with, kept from then on."""
        if self._board is None:
            self._board = world.board(world.app("1.0.0"), mac=self.mac)
            if self.protocol == 2:
                uds.write_uds(self._board, self._secret)
        return self._board

    def forget(self) -> None:
        """Its memory: what is left to know of it is in its results."""
        self._board = None

    async def update(self, agent: str, attempts: int) -> None:
        """One try. What then boots is what it was told; anything else raises AssertionError."""
        board = self.power()
        before = world.slot_bytes(board, "ota_0")
        settings: dict[str, Any] = {
            "agent_ca": world.authority("test CA").ca,
            "identity": "mac" if self.protocol == 1 else "provisioned",
            "attempts": attempts,
            "retry_delay_s": _RETRY_DELAY_S,
        }
        try:
            await OtaService(board, settings).ota_service_begin(agent)
        except OtaError as error:
            self.results.append(error.code)
            assert board.boot().partition.label == "ota_0"
            assert world.slot_bytes(board, "ota_0") == before
        else:
            self.results.append("updated")
            assert board.boot().partition.label == "ota_1"
            new = world.app("2.0.0")
            assert world.slot_bytes(board, "ota_1")[: len(new)] == new
        if not self.is_ours:
            assert set(world.slot_bytes(board, "ota_1")) == {0xFF}, "not a byte for these"


def make_fleet(count: int) -> list[FleetBoard]:
    """Half of each protocol; one in forty is a stranger, one in forty was stolen and revoked."""
    fleet = []
    for number in range(count):
        standing = {7: "stranger", 27: "revoked"}.get(number // 2 % 40, "ours")
        fleet.append(FleetBoard(number, 1 + number % 2, standing))
    return fleet


def enrol(fleet: list[FleetBoard], registry: str, folder: Path) -> None:
    """By the command line, as production does it."""
    known = [board for board in fleet if board.standing != "stranger"]
    for protocol, header in ((1, "mac"), (2, "id,root")):
        path = folder / f"boards-{protocol}.csv"
        rows = [
            board.name if protocol == 1 else f"{board.name},{board.root}"
            for board in known
            if board.protocol == protocol
        ]
        path.write_text("\n".join([header, *rows]) + "\n")
        _run("submit", "--csv", path, "--registry", registry)
    for board in known:
        if board.standing == "revoked":
            _run("revoke", board.name, "--reason", "stolen", "--registry", registry)


def _run(*arguments: object) -> None:
    command = [_COMMAND, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


async def update_all(
    fleet: list[FleetBoard], agent: str, attempts: int, on_result: Callable[[int], None]
) -> Counter[str]:
    """One try for each, so many at a time. on_result(count): told how many are through."""
    todo = iter(fleet)
    through = 0
    found: Counter[str] = Counter()

    async def work(boards: Iterator[FleetBoard]) -> None:
        nonlocal through
        for board in boards:
            await board.update(agent, attempts)
            found[board.results[-1]] += 1
            if board.results[-1] == "updated":
                board.forget()
            through += 1
            on_result(through)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work(todo))
    return found
