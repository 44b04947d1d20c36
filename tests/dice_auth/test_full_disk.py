"""The disk of the SQLite registry is full, or may not be written: what was promised is held."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dice_auth import observations
from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry
from ota_cli.command_line import run as command
from tests.dice_auth.asking import asking, eventually
from tests.dice_auth.boards import board
from tests.dice_auth.server_process import server_process, wait_until
from tests.dice_auth.small_disk import SmallDisk, small_disk
from tests.dice_auth.test_server import running

ENROLLED, STRANGER = board(1), board(2)
BATCH = range(10, 110)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "batch.csv"
    path.write_text("\n".join(["mac", *(board(number).board_id for number in BATCH), ""]))
    return path


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    lines = [json.loads(each.getMessage()) for each in caplog.records if each.name == "dice_auth"]
    return [line for line in lines if line["event"] == name]


async def count(registry: Registry) -> int:
    return len([record async for record in registry.boards()])


@pytest.mark.parametrize("room_bytes", [0, 4096, 5 * 4096, 12 * 4096, 20 * 4096])
def test_a_batch_that_the_disk_does_not_take_fails_whole_and_lookups_go_on(
    disk: SmallDisk, batch: Path, capsys: pytest.CaptureFixture[str], room_bytes: int
) -> None:
    path = disk.folder / "registry.db"
    url = f"sqlite:///{path}"
    submit = ["submit", "--csv", str(batch), "--registry", url]

    async def run() -> None:
        async with open_registry(url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)
            async with (
                asyncio.timeout(20),
                running(url) as address,
                asking(address, ENROLLED.pem) as enrolled,
                asking(address, STRANGER.pem) as stranger,
                asking(address, board(BATCH[-1]).pem) as last_of_batch,
            ):
                await enrolled.next()
                disk.fill(room_bytes=room_bytes)
                for _ in range(2):
                    capsys.readouterr()
                    assert await asyncio.to_thread(command, submit) == 1
                    error = capsys.readouterr().err
                    assert error.startswith(f"ota-service: registry {path}: ")
                    assert "full" in error
                    assert error.count("\n") == 1
                    assert await count(registry) == 1
                    await enrolled.next(3)
                assert set(last_of_batch.statuses) == {401}
                disk.make_room()
                assert await asyncio.to_thread(command, submit) == 0
                assert await count(registry) == 1 + len(BATCH)
                assert await last_of_batch.next() == {200}
            assert set(enrolled.statuses) == {200}
            assert set(stranger.statuses) == {401}

    asyncio.run(run())


def test_what_was_seen_while_the_disk_was_full_is_written_when_there_is_room(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")
    monkeypatch.setattr(observations, "WRITE_EVERY_S", 0.02)
    url = f"sqlite:///{disk.folder}/registry.db"

    async def run() -> None:
        async with open_registry(url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)
            async with (
                asyncio.timeout(20),
                running(url) as address,
                asking(address, STRANGER.pem) as stranger,
            ):
                await stranger.next()
                disk.fill()
                async with asking(address, ENROLLED.pem) as enrolled:
                    while not events(caplog, "observations-not-written"):
                        await enrolled.next()
                    await enrolled.next(20)
                assert set(enrolled.statuses) == {200}

                async def is_seen() -> bool:
                    record = await registry.get(ENROLLED.board_id)
                    assert record is not None
                    return record.last_verdict == "accepted" and record.first_seen is not None

                assert not await is_seen()
                disk.make_room()
                await eventually(is_seen, 1)
        assert len(events(caplog, "observations-not-written")) == 1

    asyncio.run(run())


def test_a_file_that_became_read_only_still_answers_lookups(tmp_path: Path) -> None:
    """For a server without root's right to write everywhere."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "registry.db"
    url = f"sqlite:///{path}"

    async def fill() -> None:
        async with open_registry(url) as registry:
            await registry.enrol(ENROLLED.board_id, ENROLLED.root)

    asyncio.run(fill())
    program = (
        "from dice_auth import observations; observations.WRITE_EVERY_S = 0.05;"
        "from ota_cli.main import main; main()"
    )
    start = [*_without_root(), sys.executable, "-c", program]
    with server_process(url, tmp_path, start=start) as server:
        assert server.ask(ENROLLED.pem) == 200
        for each in (*folder.iterdir(), folder):
            each.chmod(0o555)
        try:
            wait_until(
                lambda: (
                    server.ask(ENROLLED.pem) == 200
                    and len(server.events("observations-not-written")) == 1
                ),
                5,
            )
            assert "readonly" in str(server.events("observations-not-written")[0]["reason"])
            assert server.ask(STRANGER.pem) == 401
        finally:
            for each in (folder, *folder.iterdir()):
                each.chmod(0o755)

        async def is_seen() -> bool:
            async with open_registry(url) as registry:
                record = await registry.get(ENROLLED.board_id)
                return record is not None and record.last_verdict == "accepted"

        wait_until(lambda: asyncio.run(is_seen()), 2)


def _without_root() -> list[str]:
    """The start of a command line under which modes of files count."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("as root, a read-only file needs setpriv")
    return [setpriv, "--bounding-set=-dac_override", "--"]
