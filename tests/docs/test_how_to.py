"""The how-to guides: every command is typed, every piece of firmware runs on a virtual board."""

import asyncio
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import world
from tests.dice_auth.redis_peer import RedisPeer
from tests.docs.pages import DOCS, ROOT, blocks
from tests.docs.terminals import followed, pairs
from tests.ota_cli.processes import done, server
from tests.ports import free_port
from virtual_esp32.board import power_on

BIN = Path(sys.executable).parent
GUIDES = {path.stem: path for path in sorted((DOCS / "how-to").glob("*.md"))}
PORTS = {port: free_port() for port in (8000, 4433, 8032)}

pytestmark = pytest.mark.skipif(
    not (BIN / "espsecure").exists() or shutil.which("bash") is None,
    reason="no bash or espsecure here",
)


def with_free_ports(text: str) -> str:
    for port, other in PORTS.items():
        text = text.replace(f":{port}", f":{other}")
    return text


def follow(name: str, folder: Path, change: Callable[[str], str] = with_free_ports) -> str:
    """A guide, all of it, in this folder; what its one terminal printed."""
    with followed(GUIDES[name], folder, change, first_in_path=(BIN,)) as terminals:
        (terminal,) = terminals.values()
        return terminal.log


def test_every_block_of_every_guide_is_typed_printed_or_run_on_a_board() -> None:
    for path in GUIDES.values():
        list(pairs([block for block in blocks(path) if block.language != "python"]))
    python = {path.stem for path in GUIDES.values() if blocks(path, "python")}
    assert python == {"self-test", "own-endpoints"}
    typed = {path.stem for path in GUIDES.values() if blocks(path, "sh")}
    assert typed | python == set(GUIDES)


def test_signing_keys(tmp_path: Path) -> None:
    assert follow("signing-keys", tmp_path).count(": whole, signed by ") == 3


def test_secure_boot(tmp_path: Path) -> None:
    follow("secure-boot", tmp_path)


def test_stolen_board(tmp_path: Path) -> None:
    done("provision", "door-7", "-o", tmp_path / "secrets", cwd=tmp_path)
    log = follow("stolen-board", tmp_path)
    assert "state         revoked" in log.replace("revoked  ", "revoked")
    assert log.rstrip().splitlines()[-1].startswith("last version")
    assert "stolen on site" in log


def test_monitoring(tmp_path: Path) -> None:
    where = f"127.0.0.1:{PORTS[8000]}"
    registry = f"sqlite:///{tmp_path / 'boards.db'}"
    with server("attest", "serve", "--registry", registry, "--listen", where):
        log = follow("monitoring", tmp_path)
    assert "dice_auth_registry_faults_total 0.0" in log
    assert log.rstrip().endswith("1")


@pytest.fixture
def redis_peer(tmp_path: Path) -> Iterator[RedisPeer]:
    peer = RedisPeer(tmp_path)
    peer.start()
    yield peer
    peer.stop()


def test_fleet_from_c(tmp_path: Path, redis_peer: RedisPeer) -> None:
    for version in ("1.0.0", "2.0.0"):
        (tmp_path / f"thermo-{version}.bin").write_bytes(world.app(version, chip="esp32"))
    log = follow(
        "fleet-from-c",
        tmp_path,
        lambda text: with_free_ports(text.replace(":6379", f":{redis_peer.port}")),
    )
    assert "runs thermo 2.0.0 in ota_1, confirmed" in log
    stored = redis_peer.run("HKEYS", "24:0a:c4:00:00:01")
    assert stored == [b"root_cert"]


async def serve(main: Callable[..., Awaitable[Any]], ask: Callable[..., Awaitable[Any]],
                *arguments: Any) -> Any:  # fmt: skip
    """Runs a guide's `main` as a board's application until `ask(client)` has its answer."""
    port = free_port()
    board = world.board(world.app("1.0.0"))
    task = asyncio.create_task(power_on(board, lambda b: main(*arguments, port=port)))
    base = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(20), httpx.AsyncClient(base_url=base, trust_env=False) as client:
            while True:
                try:
                    return await ask(client)
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def firmware(name: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    (block,) = blocks(GUIDES[name], "python")
    exec(block.text, namespace)
    return namespace


def test_own_endpoints_serve_what_the_guide_says() -> None:
    async def ask(client: httpx.AsyncClient) -> list[Any]:
        wrong = await client.post("/target", json={"celsius": "warm"})
        right = await client.post("/target", json={"celsius": 18})
        return [
            (await client.get("/temp")).json(),
            (wrong.status_code, wrong.text),
            right.status_code,
            (await client.get("/target")).json(),
        ]

    answers = asyncio.run(serve(firmware("own-endpoints")["main"], ask))
    assert answers == [
        {"celsius": 21.5}, (400, 'expected {"celsius": NUMBER}\n'), 204, {"target": 18.0},
    ]  # fmt: skip


@pytest.mark.parametrize(("sensor", "expected"), [(4096, "confirmed"), (0, "rolled-back")])
def test_the_self_test_decides_as_the_guide_says(
    sensor: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New firmware, installed and not confirmed yet."""
    board = world.board(world.app("1.0.0"))
    offset, _ = world.SLOTS["ota_1"]
    for at in range(0, len(world.app("2.0.0")), 4096):
        board.flash.erase_sector((offset + at) // 4096)
    board.flash.write(offset, world.app("2.0.0"))
    board.running_partition().get_next_update().set_boot()
    namespace = firmware("self-test")
    namespace["read_sensor"] = lambda board: sensor
    told: list[str] = []
    namespace["print"] = lambda name, detail: told.append(name)
    port = free_port()

    async def run() -> None:
        settings = {"agent_ca": world.authority("test CA").ca}
        task = asyncio.create_task(
            power_on(board, lambda b: namespace["main"](b, settings, port=port))
        )
        async with asyncio.timeout(20):
            while expected not in told:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    slot = "ota_1" if expected == "confirmed" else "ota_0"
    board.boot()
    assert board.running_partition().info()[4] == slot


def test_the_metrics_that_monitoring_names_exist() -> None:
    named = set(re.findall(r"`((?:dice_auth|ota_agent)_\w+)`", GUIDES["monitoring"].read_text()))
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert len(named) > 5
    assert [name for name in named if f'"{name.removesuffix("_total")}"' not in source] == []
