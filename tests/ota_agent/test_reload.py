"""New firmware and a new certificate while boards are being served."""

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.images import application_image, signed_image
from tests.ota_agent.scene import Scene, scene

OLD = signed_image(size=6_000_000, version="1.0.0")
NEW = signed_image(size=50_000, version="2.0.0")


def replace(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def truncate(path: Path, content: bytes) -> None:
    os.truncate(path, 1000)


def remove(path: Path, content: bytes) -> None:
    path.unlink()


# What happens to the file, with which content, and what the next board gets.
CHANGES: dict[str, tuple[Callable[[Path, bytes], object], bytes, bytes]] = {
    "renamed over": (replace, NEW, NEW),
    "rewritten in place": (Path.write_bytes, NEW, NEW),
    "truncated": (truncate, b"", OLD),
    "emptied": (Path.write_bytes, b"", OLD),
    "removed": (remove, b"", OLD),
    "garbage": (replace, b"garbage", OLD),
    "unsigned": (replace, application_image(), OLD),
    "half written": (Path.write_bytes, NEW[:30_000], OLD),
}


@pytest.mark.parametrize("name", CHANGES)
def test_running_transfers_finish_with_the_old_bytes_and_new_ones_get_what_is_valid(
    tmp_path: Path, board_certificate: bytes, name: str
) -> None:
    change, content, expected = CHANGES[name]

    async def run() -> None:
        async with scene(tmp_path, image=OLD) as here:
            began, changed = asyncio.Event(), asyncio.Event()
            running = asyncio.create_task(slow_update(here, board_certificate, began, changed))
            await began.wait()
            change(tmp_path / "firmware.bin", content)
            assert await here.update(board_certificate) == expected
            changed.set()
            assert await running == OLD

    asyncio.run(run())


async def slow_update(
    here: Scene, presented: bytes, began: asyncio.Event, go_on: asyncio.Event
) -> bytes:
    """A board that takes one byte, and the rest when it may."""
    loop = asyncio.get_running_loop()

    def work(board: BoardPeer) -> bytes:
        board.socket.sendall(presented)
        first = board.socket.recv(1)
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return first + board.read_all()

    return await here.board(work)


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


def presented_certificate(here: Scene) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(here.connect()) as client:
        return client.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_presented_without_a_restart(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path) as here:
            old, new = tmp_path / "identity", make_identity(tmp_path / "new", "rsa")
            before = await asyncio.to_thread(presented_certificate, here)
            os.replace(new.key, old / "key.pem")
            # Half replaced: the old pair goes on.
            await look_now(here)
            assert await asyncio.to_thread(presented_certificate, here) == before
            pem = new.certificate.read_bytes()
            os.replace(new.certificate, old / "certificate.pem")
            await look_now(here)
            after = await asyncio.to_thread(presented_certificate, here)
            assert after == ssl.PEM_cert_to_DER_cert(pem.decode())
            assert await here.update(board_certificate, board_context(old / "certificate.pem"))

    asyncio.run(run())


async def look_now(here: Scene) -> None:
    """SIGHUP, and the loop's turns until it has been acted on."""
    os.kill(os.getpid(), signal.SIGHUP)
    for _ in range(3):
        await asyncio.to_thread(presented_certificate, here)
