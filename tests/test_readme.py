"""What the README tells people to type, typed."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import world
from tests.peers import needs_openssl
from tests.ports import free_port
from virtual_esp32.board import power_on

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@needs_openssl
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_step_by_step_ends_with_an_updated_board(tmp_path: Path) -> None:
    script = "set -e\ntrap 'kill $(jobs -p)' EXIT\n" + "\n".join(blocks("sh"))
    script = script.replace("board run flash.bin", "board run flash.bin --http 127.0.0.1:8032")
    script = script.replace("--agent 127.0.0.1\n", "--agent 127.0.0.1:4433\n")
    for port in ("8000", "4433", "8032"):
        script = script.replace(f":{port}", f":{free_port()}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs thermo 2.0.0 in ota_1, confirmed" in done.stdout
    assert "otadata entry 1 (seq 2) names ota_1" in done.stdout


def test_the_component_in_ones_own_firmware_serves_its_endpoints() -> None:
    port = free_port()
    namespace: dict[str, Any] = {}
    exec(blocks("python")[0].replace("port=8032", f"port={port}"), namespace)
    board = world.board(world.app("1.0.0"))

    async def run() -> dict[str, Any]:
        ca = world.authority("test CA").ca
        task = asyncio.create_task(power_on(board, lambda b: namespace["main"](b, ca)))
        try:
            async with asyncio.timeout(20), httpx.AsyncClient(trust_env=False) as client:
                while True:
                    try:
                        answer = await client.get(f"http://127.0.0.1:{port}/info")
                    except httpx.ConnectError:
                        await asyncio.sleep(0.01)
                        continue
                    info: dict[str, Any] = answer.json()
                    return info
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert asyncio.run(run())["version"] == "1.0.0"
