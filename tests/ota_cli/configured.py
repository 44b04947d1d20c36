"""Virtual boards in processes of their own whose settings stand in a JSON file, and how to wait
for what they do."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ota_cli.command_line import run
from tests import world
from tests.ota_cli.processes import server

OLD = world.app("1.0.0")
NEW = world.app("2.0.0")
MAC = "24:0a:c4:00:00:01"
RUNTIMES = ["cpython", "micropython"]
_DEADLINE_S = 30


@contextmanager
def board(
    folder: Path,
    runtime: str,
    settings: dict[str, Any],
    *options: Any,
    image: bytes = OLD,
    log: list[str] | None = None,
) -> Iterator[str]:
    """A board with `image` that runs with these settings; its URL."""
    app, flash, config = (folder / name for name in ("app.bin", "flash.bin", "board.json"))
    app.write_bytes(image)
    config.write_text(json.dumps(settings))
    if not flash.exists():
        made = ("--app", str(app), "--chip", world.CHIP, "--mac", MAC)
        assert run(["board", "create", str(flash), *made]) == 0
    arguments = ("--http", "127.0.0.1:0", "--runtime", runtime, "--config", config, *options)
    with server("board", "run", flash, *arguments, log=[] if log is None else log) as url:
        yield url


def status(url: str) -> dict[str, Any]:
    """The answer to GET /update."""
    answer: dict[str, Any] = httpx.get(f"{url}/update", trust_env=False, timeout=10).json()
    return answer


def settled(url: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll GET /update until it is as wanted; the board may be rebooting meanwhile."""
    found: dict[str, Any] = {}
    end = time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        try:
            found = status(url)
            if wanted(found):
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"not within {_DEADLINE_S} s: {found}")


def is_new(found: dict[str, Any]) -> bool:
    """Whether the second slot's firmware runs and has confirmed itself."""
    return found["running"] == "ota_1" and found["confirmed"]


def failed(found: dict[str, Any]) -> bool:
    """Whether an update has failed."""
    return found["state"] == "failed"


def push(port: int, image: bytes) -> None:
    """Send a raw image to whoever listens on the port, as soon as somebody does; as `nc` would."""
    end = time.monotonic() + _DEADLINE_S
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end, f"nobody listens on port {port}"
            time.sleep(0.02)
    with connection:
        try:
            connection.sendall(image)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass  # the board has seen enough, or what it wanted
