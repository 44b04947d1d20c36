"""micropython/boot.py, wifi.py and main.py under the MicroPython unix port, and what people get
wrong on a new board: one clear line, and it goes on, or goes back."""

import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import micropython_port, world
from tests.ports import free_port
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import NorFlash
from virtual_esp32.manufacture import flash_content

pytestmark = pytest.mark.skipif(
    not micropython_port.INTERPRETER.exists(), reason="the MicroPython unix port is not installed"
)

ON_PORT = Path(__file__).parent / "on_port"
OURS = micropython_port.ROOT / "micropython"
PASSWORD = "correct horse"
WAIT_S = 30


class Desk:
    """A folder with a board's filesystem and its flash."""

    def __init__(self, folder: Path, is_new: bool) -> None:
        self.folder = folder
        self.flash = folder / "flash.bin"
        self.port = free_port()
        shutil.copy(OURS / "boot.py", folder)
        self.write_main()
        self.write("wifi.json", {"ssid": "home", "password": PASSWORD})
        self.write("air.json", {"home": PASSWORD})
        self.write("ota.json", {"ntp_host": None})
        self.flash.write_bytes(flash_content(world.FLASH_BYTES, world.app("1.0.0")))
        efuse = EFuse(world.MAC, chip=world.CHIP)
        efuse.save(str(self.flash))
        if is_new:
            with self.board() as board:
                board.boot()
                spare = board.find_partitions(0, 0x11)[0]
                image = world.app("2.0.0")
                image += b"\xff" * (-len(image) % 4096)
                for block in range(len(image) // 4096):
                    spare.writeblocks(block, image[block * 4096 :][:4096])
                spare.set_boot()

    def write(self, name: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / name).write_text(text)

    def write_main(self, application: str = "") -> None:
        """main.py with another port, and with other lines in `application`."""
        text = (OURS / "main.py").read_text().replace("PORT = 80", f"PORT = {self.port}")
        if application:
            text = text.replace("    while True:\n", f"    {application}\n    while True:\n", 1)
        self.write("main.py", text)

    @contextmanager
    def board(self) -> Iterator[VirtualBoard]:
        flash = NorFlash.open(str(self.flash))
        try:
            yield VirtualBoard(flash, EFuse.load(str(self.flash)))
        finally:
            flash.close()

    def boots(self) -> str:
        """The slot that boots at the next reset, which this is."""
        with self.board() as board:
            return str(board.boot().partition.label)

    @contextmanager
    def started(self, *first: str) -> Iterator["Console"]:
        """first: folders that come first in sys.path."""
        library = self.folder / "library"
        library.mkdir(exist_ok=True)
        paths = micropython_port.environment(library)["MICROPYPATH"]
        process = subprocess.Popen(
            [micropython_port.INTERPRETER, "-X", "heapsize=4M", ON_PORT / "start.py", self.flash],
            env={**os.environ, "MICROPYPATH": ":".join([*first, str(ON_PORT), str(OURS), paths])},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        console = Console(process)
        try:
            yield console
        finally:
            process.kill()
            console.end()

    def info(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/info")
            return connection.getresponse().status
        finally:
            connection.close()


class Console:
    """What a board says, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def until(self, *words: str) -> str:
        """Read on to the line that has these words."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError("\n".join([f"no line with {words}:", *self.said])) from None
            assert line is not None, "\n".join(self.said)
            self.said.append(line)
            if all(word in line for word in words):
                return line

    def interrupt(self) -> None:
        """Ctrl-C, while it waits: the unix port raises it wherever it is, in the middle of a
        garbage collection too, whose lock then stays. A chip raises it between two bytecodes."""
        status = Path(f"/proc/{self._process.pid}/stat")
        while status.read_text().rpartition(")")[2].split()[0] != "S":
            pass
        self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def text(self) -> str:
        return "\n".join(self.said)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A board whose firmware is confirmed."""
    return Desk(tmp_path, is_new=False)


@pytest.fixture
def new(tmp_path: Path) -> Desk:
    """A board that an update has just left in ota_1, which nobody has confirmed."""
    return Desk(tmp_path, is_new=True)


def test_new_firmware_serves_confirms_itself_and_leaves_the_repl_to_ctrl_c(new: Desk) -> None:
    with new.started() as console:
        assert console.until("slot") == "slot ota_1"
        assert console.until("Wi-Fi") == "Wi-Fi: home, address 192.0.2.17"
        console.until("confirmed", "ota_1")
        assert console.until("clock") == "clock: has the time"
        assert new.info() == 200
        console.interrupt()
        console.until("REPL")
    assert PASSWORD not in console.text
    assert "RESET" not in console.text
    assert new.boots() == "ota_1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is not there"),
        ('{"ssid": "home", "password": "secret word', "is not JSON"),
        ('["home", "secret word"]', "expected"),
        ({"password": "secret word"}, "ssid: expected"),
        ({"ssid": "h" * 33, "password": "secret word"}, "ssid: expected"),
        ({"ssid": "home", "password": "secret"}, "password: expected"),
        ({"ssid": "home", "password": 12345678}, "password: expected"),
    ],
)
def test_a_wifi_file_that_is_none_is_one_line_and_the_endpoints_are_served(
    desk: Desk, content: object, says: str
) -> None:
    if content is None:
        (desk.folder / "wifi.json").unlink()
    else:
        desk.write("wifi.json", content)
    with desk.started() as console:
        line = console.until("Wi-Fi")
        assert line.startswith("Wi-Fi: wifi.json: ")
        assert says in line
        _wait_for_info(desk)
        console.interrupt()
        console.until("REPL")
    assert "secret" not in console.text
    assert console.text.count("Wi-Fi") == 1


def test_a_wrong_password_is_told_once_and_tried_on_until_it_is_right(desk: Desk) -> None:
    desk.write("air.json", {"home": "another word"})
    with desk.started() as console:
        assert console.until("Wi-Fi") == "Wi-Fi: home does not take the password"
        _wait_for_info(desk)
        desk.write("air.json", {"home": PASSWORD})
        assert console.until("Wi-Fi") == "Wi-Fi: home, address 192.0.2.17"
    assert PASSWORD not in console.text


def test_no_wifi_is_told_and_waited_for(desk: Desk) -> None:
    desk.write("air.json", {})
    with desk.started() as console:
        assert console.until("Wi-Fi") == "Wi-Fi: no network home here"
        desk.write("air.json", {"home": None})
        console.until("Wi-Fi", "a wrong password can look like this")
        desk.write("air.json", {"home": PASSWORD})
        console.until("Wi-Fi", "address")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "ota.json"),
        ("{", "ota.json"),
        ({"agent_ca": "not-there.der"}, "ENOENT"),
        ({"policy": "never"}, "policy 'never'"),
        ({"no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_settings_that_cannot_be_are_one_line_and_the_application_runs_on(
    desk: Desk, content: object, says: str
) -> None:
    desk.write_main("print('application runs')")
    if content is None:
        (desk.folder / "ota.json").unlink()
    else:
        desk.write("ota.json", content)
    with desk.started() as console:
        console.until("address")
        line = console.until("no updates")
        assert line.startswith("no updates: ota.json, or a file that it names: ")
        assert says in line
        console.until("application runs")
        console.interrupt()
        console.until("REPL")
    assert "Traceback" not in console.text
    assert "RESET" not in console.text


def test_new_firmware_that_cannot_take_its_settings_goes_back(new: Desk) -> None:
    new.write("ota.json", {"setting_of_the_old_firmware": 1})
    with new.started() as console:
        console.until("setting_of_the_old_firmware")
        console.until("back to the one before")
        console.until("RESET")
    assert new.boots() == "ota_0"


def test_new_firmware_without_wifi_goes_back_when_its_time_is_over(new: Desk) -> None:
    new.write("air.json", {})
    new.write("ota.json", {"ntp_host": None, "self_test_s": 1})
    with new.started() as console:
        console.until("Wi-Fi: no network home here")
        console.until("rolled-back", "not over within 1 s")
        console.until("RESET")
    assert new.boots() == "ota_0"


def _leave_stale_code(folder: Path) -> None:
    """A compiled module of another MicroPython, as an update leaves it on the filesystem."""
    package = folder / "stale" / "esp32_akri"
    package.mkdir(parents=True)
    (package / "__init__.mpy").write_bytes(b"M\x05\x00\x1f" + bytes(32))


def test_stale_code_on_the_filesystem_sends_new_firmware_back(new: Desk) -> None:
    _leave_stale_code(new.folder)
    with new.started("stale") as console:
        console.until("incompatible .mpy")
        console.until("back to the one before")
        console.until("RESET")
    assert new.boots() == "ota_0"


def test_stale_code_under_confirmed_firmware_ends_at_the_repl_without_a_reset(desk: Desk) -> None:
    _leave_stale_code(desk.folder)
    with desk.started("stale") as console:
        console.until("incompatible .mpy")
        console.until("stopped: the application does not run")
        console.until("REPL")
    assert "RESET" not in console.text


def test_new_firmware_whose_application_ends_goes_back(new: Desk) -> None:
    new.write_main("raise RuntimeError('no sensor')")
    with new.started() as console:
        console.until("no sensor")
        console.until("rolled-back", "self-test")
        console.until("RESET")
    assert new.boots() == "ota_0"


def test_an_application_that_fails_leaves_confirmed_firmware_open_to_updates(desk: Desk) -> None:
    desk.write_main("raise RuntimeError('no sensor')")
    with desk.started() as console:
        console.until("no sensor")
        _wait_for_info(desk)
    assert "RESET" not in console.text


def _wait_for_info(desk: Desk) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            assert desk.info() == 200
            return
        except ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_frozen_code_goes_before_the_filesystem(tmp_path: Path) -> None:
    shutil.copy(OURS / "boot.py", tmp_path)
    stale = tmp_path / "stale"
    (stale / "asyncio").mkdir(parents=True)
    for name in ("asyncio/__init__.py", "hashlib.py", "stale_application.py"):
        (stale / name).write_text("STALE = True\n")
    path = f"stale:{micropython_port.ROOT / 'src'}:.frozen"
    done = subprocess.run(
        [micropython_port.INTERPRETER, ON_PORT / "frozen_first.py"],
        env={"MICROPYPATH": path},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "ok", done.stdout
    assert lines[0].startswith("warning: on the filesystem, unsigned and not used: stale/asyncio")
    assert "/src/dice" in lines[0]
    assert "not_there" not in lines[0]
