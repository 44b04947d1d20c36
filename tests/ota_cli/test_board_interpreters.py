"""`python -m virtual_esp32` and `micropython -m virtual_esp32`: mistakes are one line on both."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.micropython_port import INTERPRETER, ROOT, environment
from tests.ota_cli.processes import refused, server

RUNTIMES = ["python", "micropython"]


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    path = tmp_path / "flash.bin"
    assert run(["image", "build", "-o", str(tmp_path / "app.bin"), "--version", "1"]) == 0
    assert run(["board", "create", str(path), "--app", str(tmp_path / "app.bin")]) == 0
    return path


def command(runtime: str, library: Path) -> tuple[list[str], dict[str, str]]:
    """The interpreter with its options, and its environment."""
    if runtime == "python":
        return [sys.executable, "-u"], {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return [str(INTERPRETER), "-X", "heapsize=2M"], environment(library)


def refusal(runtime: str, library: Path, code: int, *arguments: object) -> str:
    """The one line of a board that must not start."""
    interpreter, env = command(runtime, library)
    ended = subprocess.run(
        [*interpreter, "-m", "virtual_esp32", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, env=env, cwd=library,
    )  # fmt: skip
    assert ended.returncode == code, (ended.stdout, ended.stderr)
    lines = (ended.stdout + ended.stderr).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_mistakes_are_one_line(runtime: str, flash: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.der").write_bytes(b"0\x82rubbish")
    (tmp_path / "bad.pem").write_text("hello")
    for options in (
        ("--agent-ca", "bad.der"), ("--agent-ca", "bad.pem"), ("--agent-ca", "none.pem"),
        ("--agent-ca", "."), ("--http", "127.0.0.1:99999"), ("--http", "x..y:80"),
        ("--http", "8032"), ("--policy", "never"), ("--colour",), ("--http",),
    ):  # fmt: skip
        assert options[-1] in refusal(runtime, tmp_path, 2, flash, *options)
    assert "found 0" in refusal(runtime, tmp_path, 2)
    assert "none.bin" in refusal(runtime, tmp_path, 1, "none.bin")
    assert refusal(runtime, tmp_path, 0, "--help").startswith("usage: -m virtual_esp32 FLASH")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_port_in_use_is_one_line(runtime: str, flash: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refusal(runtime, tmp_path, 1, flash, "--http", address)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_sidecar_that_is_wrong_is_one_line(runtime: str, flash: Path, tmp_path: Path) -> None:
    sidecar = flash.with_name("flash.bin.efuse.json")
    for text in ("[" * 5000, '{"mac": "24:0a:c4:00:00:01", "secure_boot": true}'):
        sidecar.write_text(text)
        refusal(runtime, tmp_path, 1, flash)
    sidecar.unlink()
    sidecar.mkdir()
    assert "efuse.json: " in refusal(runtime, tmp_path, 1, flash)


def test_however_a_board_is_started_it_has_its_flash_for_itself(
    flash: Path, tmp_path: Path
) -> None:
    with server("board", "run", flash, "--http", "127.0.0.1:0"):
        assert "runs on it already" in refusal(
            "python", tmp_path, 1, flash, "--http", "127.0.0.1:0"
        )
        assert "runs on it already" in refused("board", "erase-otadata", flash)
        assert "runs on it already" in refused("board", "run", flash, "--runtime", "micropython")
        assert run(["board", "show", str(flash)]) == 0
    with server("board", "run", flash, "--http", "127.0.0.1:0", "--runtime", "micropython"):
        assert "runs on it already" in refusal("python", tmp_path, 1, flash)
        assert "runs on it already" in refused("board", "run", flash)


@pytest.mark.parametrize("host", ["\udcff", "", "x..y", "a b", "[::1"])
def test_a_host_that_cannot_be_is_called_that(host: str, flash: Path) -> None:
    assert "expected HOST:PORT" in refused("board", "run", flash, "--http", f"{host}:0", code=2)
