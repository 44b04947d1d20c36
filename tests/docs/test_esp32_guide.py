"""docs/esp32.md, followed on a virtual board: its flash file is what esptool writes to.

COVERED says of every block which test covers it. What needs a chip, the sources of MicroPython or
an ESP-IDF is checked as far as it goes without them.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from esp_image.build import build_app
from ota_service.config import Config, read_json
from tests import world
from tests.docs import chip_tools
from tests.docs.pages import DOCS, ROOT, Block, blocks
from tests.docs.terminals import Terminal
from tests.ports import free_port
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import NorFlash
from virtual_esp32.manufacture import flash_content

GUIDE = blocks(DOCS / "esp32.md")
IMAGE = "ESP32_GENERIC-OTA-20250415-v1.25.0"
PORTS = {port: free_port() for port in (8000, 4433, 80)}

# Words of each block, in the page's order, and what covers it.
COVERED = {
    "make demo && make mpy": "followed; make by its dry run (tests build both)",
    "espsecure generate-signing-key": "followed",
    "image=ESP32_GENERIC": "followed; esptool on a flash file",
    "mpremote mip install": "followed; mpremote into a folder (test_packages.py installs)",
    '{"ssid"': "wifi.json",
    '{"agent_ca"': "ota.json, and the followed board has it",
    "mpremote fs cp wifi.json ota.json": "followed",
    "ota-service provision kitchen-1": "followed",
    "from ota_service import provision": "on the board",
    "ota-service submit kitchen-1 --root": "on the board",
    "ota-service image stamp $image.app-bin --version 2.0.0": "followed",
    "mpremote reset": "followed; the virtual board is switched on",
    "ota-service update http://192.0.2.17": "followed",
    "from esp32 import Partition": "by hand",
    "make mpy    # also puts microdot": "words",
    "cd ../micropython/ports/unix": "words",
}


def block(words: str) -> Block:
    (found,) = [each for each in GUIDE if each.text.startswith(words)]
    return found


def changed(text: str) -> str:
    """For one machine: its addresses, ports that are free."""
    text = text.replace(
        "--dice-auth-url http://127.0.0.1:8000 &",
        f"--dice-auth-url http://127.0.0.1:{PORTS[8000]} --listen 127.0.0.1:{PORTS[4433]} &",
    )
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{PORTS[8000]}")
    text = text.replace("http://192.0.2.17", f"http://127.0.0.1:{PORTS[80]}")
    return text.replace("--agent 192.0.2.1", f"--agent 127.0.0.1:{PORTS[4433]}")


def test_every_block_is_covered() -> None:
    for each, words in zip(GUIDE, COVERED, strict=True):
        assert each.text.startswith(words), each


@pytest.fixture
def terminal(checkout: Path) -> Iterator[Terminal]:
    opened = Terminal(checkout)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
@pytest.mark.skipif(not Path(sys.executable).with_name("espsecure").exists(), reason="no espsecure")
def test_followed_on_a_virtual_board_it_ends_with_a_board_that_runs_the_new_version(
    checkout: Path, terminal: Terminal
) -> None:
    stock = build_app("", "", size=65536)  # as MicroPython's: without names and signature
    (checkout / f"{IMAGE}.app-bin").write_bytes(stock)
    whole = flash_content(chip_tools.FLASH_BYTES, stock)
    (checkout / f"{IMAGE}.bin").write_bytes(whole[0x1000 : 0x10000 + len(stock)])
    tools = chip_tools.install(checkout)
    terminal.run(tools, None)
    for words, how in COVERED.items():
        each = block(words)
        if words == '{"ssid"':
            (checkout / "wifi.json").write_text(each.text)
        elif words == '{"agent_ca"':
            (checkout / "ota.json").write_text(each.text)
        elif how.startswith("followed"):
            terminal.run(changed(each.text), None)
        if words.startswith("make demo"):
            terminal.run(tools, None)  # the block has put the real ones first
        elif words == "mpremote reset":
            switch_on(checkout, terminal)
    assert "runs thermo 2.0.0 in ota_1, confirmed" in terminal.log
    files = {path.name for path in (checkout / "board-files").iterdir()}
    assert files == {"boot.py", "main.py", "wifi.py", "ca.der", "wifi.json", "ota.json"}
    terminal.run("kill -INT $(jobs -p); wait", None)


def switch_on(checkout: Path, terminal: Terminal) -> None:
    """The virtual board, with the files that the guide has copied to it."""
    where = f"--config {checkout}/board-files/ota.json --http 127.0.0.1:{PORTS[80]}"
    terminal.run("ota-service board adopt flash.bin", None)
    terminal.run(f"ota-service board run flash.bin {where} &\n", None)


def test_the_settings_are_settings(tmp_path: Path) -> None:
    (tmp_path / "ca.der").write_bytes(world.authority("test CA").ca)
    (tmp_path / "ota.json").write_text(block('{"agent_ca"').text)
    config = Config(read_json(str(tmp_path / "ota.json")))
    assert (config.project, config.protocol) == ("thermo", 2)
    known = set(re.findall(r'found\.get\("(\w+)"', (ROOT / "micropython/wifi.py").read_text()))
    assert set(json.loads(block('{"ssid"').text)) == known


def test_on_the_board_provisioning_prints_what_the_next_block_enrols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = VirtualBoard(world.board(world.app("1.0.0")).flash, EFuse(world.MAC, chip=world.CHIP))
    board.boot()
    module = SimpleNamespace(Board=lambda: board)
    monkeypatch.setitem(sys.modules, "ota_service.boards.esp32", module)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block("from ota_service import provision").text, {})
    assert "SHA-256" in printed.getvalue()
    (tmp_path / "kitchen-1.pem").write_text(printed.getvalue())
    done = subprocess.run(
        ["bash", "-ec", block("ota-service submit kitchen-1 --root").text + "ota-service list"],
        cwd=tmp_path, env={**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kitchen-1  active" in done.stdout


class Hands:
    """The modules `esp32` and `machine` as far as the block needs them."""

    def __init__(self, board: VirtualBoard) -> None:
        class Partition:
            RUNNING = 1

            def __new__(cls, which: int) -> Any:
                assert which == cls.RUNNING
                return board.running_partition()

        self.esp32 = ModuleType("esp32")
        self.esp32.Partition = Partition  # type: ignore[attr-defined]
        self.machine = ModuleType("machine")
        self.machine.reset = board.reset  # type: ignore[attr-defined]


def test_by_hand_the_board_goes_back_to_the_other_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = world.board(world.app("2.0.0"))
    offset, _ = world.SLOTS["ota_1"]
    content = bytearray(board.flash.read(0, board.flash.size))
    content[offset : offset + len(world.app("1.0.0"))] = world.app("1.0.0")
    (tmp_path / "flash.bin").write_bytes(content)
    flash = NorFlash.open(str(tmp_path / "flash.bin"))
    board = VirtualBoard(flash, EFuse(world.MAC, chip=world.CHIP))
    board.boot()
    assert board.running_partition().info()[4] == "ota_0"
    hands = Hands(board)
    monkeypatch.setitem(sys.modules, "esp32", hands.esp32)
    monkeypatch.setitem(sys.modules, "machine", hands.machine)
    exec(block("from esp32 import Partition").text, {})
    assert board.reset_requested
    board.boot()
    assert board.running_partition().info()[4] == "ota_1"
    flash.close()


@pytest.mark.parametrize("words", [words for words, how in COVERED.items() if how == "words"])
def test_words_of_a_build_elsewhere_name_what_is_here(words: str) -> None:
    """MicroPython's sources and an ESP-IDF are not here: the shell's syntax, our files, targets
    and variables."""
    text = block(words).text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for name in re.findall(r"\$OLDPWD/(\S+)", text):
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"^make (mpy)\b", text, re.M):
        assert f"\n{target}: " in (ROOT / "Makefile").read_text()
    port = (ROOT / "tests/micropython_port.py").read_text()
    for variable in re.findall(r"OTA_\w+", text):
        assert f'"{variable}"' in port, variable
    for module in re.findall(r"-m benchmarks (\w+)", text):
        assert (ROOT / "benchmarks" / f"{module}.py").is_file()
