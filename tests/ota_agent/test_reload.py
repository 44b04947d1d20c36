"""New firmware while boards are being served."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from esp_image.keys import key_digest_of_public_key
from ota_agent import file_stamp, server
from ota_agent.firmware import Trust
from tests.esp_image import signing
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.images import application_image, key, signed_image
from tests.ota_agent.scene import Scene, scene

OLD = signed_image(size=6_000_000, version="1.0.0")
NEW = signed_image(size=50_000, version="2.0.0")
# As long as NEW.
NEWER = signed_image(size=50_000, version="3.0.0")
ANOTHERS = signed_image(size=50_000, version="2.0.0", signer="stranger")
TAMPERED = NEW[:5000] + bytes([NEW[5000] ^ 1]) + NEW[5001:]
TRUST = Trust([key_digest_of_public_key(signing.public_pem(key("owner")))])


def replace(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def rewrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def truncate(path: Path, content: bytes) -> None:
    os.truncate(path, 1000)


def remove(path: Path, content: bytes) -> None:
    path.unlink()


def make_directory(path: Path, content: bytes) -> None:
    path.unlink()
    path.mkdir()


Change = Callable[[Path, bytes], None]
# What happens to the file, with which content, and the reason in the log.
INVALID: dict[str, tuple[Change, bytes, str]] = {
    "truncated": (truncate, b"", "truncated"),
    "emptied": (rewrite, b"", "empty"),
    "removed": (remove, b"", "No such file"),
    "garbage": (replace, b"garbage", "magic"),
    "unsigned": (replace, application_image(), "unsigned"),
    "another signer's": (replace, ANOTHERS, "key-untrusted"),
    "tampered with": (replace, TAMPERED, "checksum"),
    "half written": (rewrite, NEW[:30_000], "truncated"),
    "a directory": (make_directory, b"", "directory"),
}


@asynccontextmanager
async def transfer_under_way(here: Scene, presented: bytes) -> AsyncIterator[None]:
    """A board that has received one byte meanwhile, and gets the rest of the old image after."""
    began, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(board: BoardPeer) -> bytes:
        board.socket.sendall(presented)
        first = board.socket.recv(1)
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(15)
        return first + board.read_all()

    board = asyncio.create_task(here.board(work))
    await began.wait()
    try:
        yield
    finally:
        go_on.set()
        received = await board
    assert received == here.image


@pytest.mark.parametrize("change", [replace, rewrite])
def test_the_very_next_board_gets_the_new_image_and_running_ones_the_old(
    tmp_path: Path, board_certificate: bytes, change: Change
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=OLD, trust=TRUST) as here:
            async with transfer_under_way(here, board_certificate):
                change(tmp_path / "firmware.bin", NEW)
                assert await here.update(board_certificate) == NEW
                assert "2.0.0" in (await here.agent.next_session())["firmware"]
            assert "1.0.0" in (await here.agent.next_session())["firmware"]
            line = await here.agent.next_event()
            assert (line["event"], line["version"]) == ("firmware-loaded", "2.0.0")
            assert here.agent.events_so_far() == []

    asyncio.run(run())


@pytest.mark.parametrize("name", INVALID)
def test_what_is_not_valid_changes_nothing_and_is_told_once(
    tmp_path: Path, board_certificate: bytes, name: str
) -> None:
    change, content, reason = INVALID[name]
    file = tmp_path / "firmware.bin"

    async def run() -> None:
        async with scene(tmp_path, image=OLD, trust=TRUST) as here:
            async with transfer_under_way(here, board_certificate):
                change(file, content)
                for _ in range(3):
                    await here.serves(board_certificate)
                    os.kill(os.getpid(), signal.SIGHUP)
            line = await here.agent.next_event()
            assert line["event"] == "firmware-not-loaded"
            assert reason in line["reason"]
            assert str(file) in line["reason"]
            assert "1.0.0" in line["still"]
            assert here.agent.events_so_far() == []
            # And then it is put right.
            if file.is_dir():
                file.rmdir()
            replace(file, NEW)
            assert await here.update(board_certificate) == NEW
            assert here.agent.events_so_far() == ["firmware-loaded"]

    asyncio.run(run())


def test_the_same_bytes_again_are_no_news(tmp_path: Path, board_certificate: bytes) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=NEW) as here:
            replace(tmp_path / "firmware.bin", NEW)
            await here.serves(board_certificate)
            (tmp_path / "firmware.bin").touch()
            await here.serves(board_certificate)
            assert here.agent.events_so_far() == []

    asyncio.run(run())


@pytest.mark.parametrize("change", [replace, rewrite])
def test_each_board_gets_the_newest_however_fast_images_follow_each_other(
    tmp_path: Path, board_certificate: bytes, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same length, and within one tick of the file system's clock: as coarse here as older
    kernels have it."""
    tick_ns, exact = 10_000_000, file_stamp._stamp

    def coarse(path: Path) -> tuple[int, ...] | None:
        numbers = exact(path)
        if numbers is None:
            return None
        return tuple(each // tick_ns * tick_ns if each > 10**15 else each for each in numbers)

    monkeypatch.setattr(file_stamp, "_stamp", coarse)

    async def run() -> None:
        async with scene(tmp_path, image=NEW) as here:
            for number in range(30):
                image = (NEWER, NEW)[number % 2]
                change(tmp_path / "firmware.bin", image)
                assert await here.update(board_certificate) == image

    asyncio.run(run())


@pytest.mark.parametrize("change", [replace, rewrite])
def test_a_new_image_of_the_same_length_and_date_is_noticed(
    tmp_path: Path, board_certificate: bytes, change: Change
) -> None:
    """As builds that can be reproduced make them, all dated alike, and `cp -p` copies them."""
    date = (10**18, 10**18)

    async def run() -> None:
        async with scene(tmp_path, image=NEW) as here:
            file = tmp_path / "firmware.bin"
            os.utime(file, ns=date)
            await here.serves(board_certificate)
            change(file, NEWER)
            os.utime(file, ns=date)
            assert await here.update(board_certificate) == NEWER

    asyncio.run(run())


def test_what_is_not_valid_becomes_so_when_it_has_been_written_whole(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=OLD) as here:
            file = tmp_path / "firmware.bin"
            with file.open("wb") as writer:
                writer.write(NEW[:20_000])
                writer.flush()
                assert await here.update(board_certificate) == OLD
                writer.write(NEW[20_000:])
            assert await here.update(board_certificate) == NEW

    asyncio.run(run())


def test_boards_that_come_while_the_new_image_is_being_loaded_get_it_as_well(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """It is loaded once for all of them, and beside the sessions."""

    async def run() -> None:
        async with scene(tmp_path, image=NEW) as here:
            await here.serves(board_certificate)
            replace(tmp_path / "firmware.bin", OLD)
            received = await asyncio.gather(*(here.update(board_certificate) for _ in range(8)))
            assert received == [OLD] * 8
            for _ in range(8):
                assert (await here.agent.next_session())["outcome"] == "sent"
            assert here.agent.events_so_far() == ["firmware-loaded"]

    asyncio.run(run())


@pytest.mark.parametrize("content", [NEWER, ANOTHERS], ids=["valid", "another signer's"])
def test_copies_that_nobody_is_served_any_more_do_not_pile_up(
    tmp_path: Path, board_certificate: bytes, content: bytes
) -> None:
    """A copy may have 16 MiB; the garbage collector comes by seldom."""

    async def run() -> None:
        async with scene(tmp_path, image=NEW, trust=TRUST) as here:
            before = copies_in_memory()
            gc.disable()
            try:
                for number in range(20):
                    replace(tmp_path / "firmware.bin", (content, NEW)[number % 2])
                    await here.update(board_certificate)
                assert copies_in_memory() <= before + 1
            finally:
                gc.enable()

    asyncio.run(run())


def copies_in_memory() -> int:
    """How many this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:firmware")


def test_sighup_and_a_second_load_it_without_a_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(period_s: float, *, is_told: bool) -> None:
        monkeypatch.setattr(server, "_REFRESH_S", period_s)
        async with scene(tmp_path, image=NEW) as here:
            replace(tmp_path / "firmware.bin", NEWER)
            if is_told:
                os.kill(os.getpid(), signal.SIGHUP)
            line = await here.agent.next_event()
            assert (line["event"], line["version"]) == ("firmware-loaded", "3.0.0")

    asyncio.run(run(600, is_told=True))
    asyncio.run(run(0.1, is_told=False))


def test_a_pipe_in_the_firmwares_place_does_not_keep_boards_waiting(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path, image=NEW) as here:
            file = tmp_path / "firmware.bin"
            file.unlink()
            os.mkfifo(file)
            try:
                async with asyncio.timeout(2):
                    await here.serves(board_certificate)
            finally:
                # Whoever waits for its other end finds it empty.
                os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK))

    asyncio.run(run())
