"""A fake chip with power: a process of either interpreter for each time between two resets."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import micropython_port
from tests.ota_cli.configured import settled
from tests.ports import free_port

HERE = Path(__file__).parent
FAKES = HERE / "fakes"
MAIN = micropython_port.ROOT / "micropython" / "main.py"
RESET_CODE = 75  # fake_chip.RESET_CODE
_ENDING_S = 20


class Powered:
    """url: where its endpoints are. lines: what it printed. boots: how often it has started."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._command, self._environment, self._folder = command, environment, folder
        self._off = False
        self._switch = threading.Lock()
        self._said = threading.Condition()
        self.url = ""
        self.lines: list[str] = []
        self.boots = 0
        self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _start(self) -> None:
        self.boots += 1
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _watch(self) -> None:
        """Collect its lines; start it again after a reset."""
        while True:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                with self._said:
                    self.lines.append(line.rstrip())
                    self._said.notify_all()
            code = self._process.wait()
            self._process.stdout.close()
            with self._switch:
                if code == RESET_CODE and not self._off:
                    self._start()
                    continue
            with self._said:
                self.lines.append(f"ended with {code}")
                self._said.notify_all()
            return

    @property
    def events(self) -> list[list[Any]]:
        """The events that application.py told."""
        return [json.loads(line) for line in self.lines if line.startswith("[")]

    def wait_for(self, wanted: Any) -> None:
        """Until `wanted(events)` holds."""
        with self._said:
            assert self._said.wait_for(lambda: wanted(self.events), 60), self.lines[-20:]

    def settled(self, wanted: Any) -> dict[str, Any]:
        """Its GET /update, once that is as wanted."""
        try:
            return settled(self.url, wanted)
        except AssertionError as error:
            raise AssertionError(f"{error}; printed: {self.lines[-20:]}") from None

    def update(self, agent: str) -> None:
        """POST /update."""
        answer = httpx.post(f"{self.url}/update", json={"agent": agent}, trust_env=False)
        assert answer.status_code == 200, answer.text

    def cut_power(self) -> None:
        """The power goes, in the middle of whatever it does."""
        with self._switch:
            self._off = True
            self._process.kill()

    def wait_off(self) -> None:
        """Until its process is gone."""
        self._thread.join(_ENDING_S)
        assert not self._thread.is_alive()


def environment(runtime: str, flash: Path, folder: Path) -> dict[str, str]:
    """For an interpreter on a fake chip. folder: will hold a link to microdot."""
    made = micropython_port.environment(folder)
    made["FAKE_ESP32_FLASH"] = str(flash)
    made["PYTHONPATH"] = str(FAKES)
    made["MICROPYPATH"] = f"{FAKES}:{FAKES / 'micropython_time'}:{made['MICROPYPATH']}"
    return made


def interpreter(runtime: str) -> list[str]:
    """The command that runs a script under it."""
    if runtime == "cpython":
        return [sys.executable, "-u", "-W", "error"]
    return [str(micropython_port.INTERPRETER), "-X", "heapsize=4M"]


@contextmanager
def powered(
    firmware: str,
    flash: Path,
    settings: dict[str, Any],
    fails_in: str | None = None,
    hangs_in: str | None = None,
) -> Iterator[Powered]:
    """A chip that runs this firmware with these settings, until the end of the block.

    firmware: `micropython` or `cpython`, application.py under that; `main.py`, the files of
    micropython/ as they are installed, under MicroPython. fails_in: in this slot its self-test
    fails. hangs_in: in this one it never ends (not with main.py).
    """
    folder = flash.parent
    port = free_port()
    if firmware == "main.py":
        command = [*interpreter("micropython"), str(HERE / "start.py")]
        assert hangs_in is None
        install(folder, settings, port, fails_in)
    else:
        (folder / "settings.json").write_text(json.dumps(settings))
        command = [*interpreter(firmware), str(HERE / "application.py"), "settings.json", str(port)]
        command += ["fails", fails_in] if fails_in else ["hangs", hangs_in] if hangs_in else []
    chip = Powered(command, environment(firmware, flash, folder), folder)
    chip.url = f"http://127.0.0.1:{port}"
    try:
        yield chip
    finally:
        chip.cut_power()
        chip.wait_off()


def install(folder: Path, settings: dict[str, Any], port: int, fails_in: str | None) -> None:
    """The files of a board that runs micropython/main.py, changed only as its owner would: another
    port, and an application of their own, which ends where it fails."""
    for name in ("boot.py", "wifi.py"):
        shutil.copy(MAIN.parent / name, folder)
    main = MAIN.read_text()
    assert "PORT = 80\n" in main
    main = main.replace("PORT = 80\n", f"PORT = {port}\n")
    if fails_in is not None:
        body = "    while True:\n"
        ends = f"    if board.running_partition().info()[4] == {fails_in!r}:\n        return\n"
        assert body in main
        main = main.replace(body, ends + body, 1)
    (folder / "main.py").write_text(main)
    (folder / "ota.json").write_text(json.dumps(settings))
    (folder / "wifi.json").write_text(json.dumps({"ssid": "home", "password": "correct horse"}))
