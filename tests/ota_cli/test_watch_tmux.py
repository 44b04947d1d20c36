"""`ota-service agent --watch` on real terminals: tmux's."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ota_cli.admin_port import AdminPort, answer, fleet, serving, session
from tests.ota_cli.processes import COMMAND
from tests.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
PATIENCE_S = 20.0


class Terminal:
    """A shell in a tmux of its own."""

    def __init__(self, socket: Path, width: int, height: int) -> None:
        self._socket = socket
        self.tmux(
            "-f", "/dev/null", "-u", "new-session", "-d", "-x", str(width), "-y", str(height),
            "env -u NO_COLOR -u COLUMNS -u LINES LC_ALL=C.UTF-8 PS1='$ ' sh",
        )  # fmt: skip
        self.until(lambda lines: "$ " in lines[0] + " ")

    def tmux(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._socket, *arguments],
            check=True, capture_output=True, text=True, timeout=30,
        ).stdout  # fmt: skip

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def lines(self, *options: str) -> list[str]:
        return self.tmux("capture-pane", "-p", *options).removesuffix("\n").split("\n")

    def unfolded(self) -> list[str]:
        """The lines, folded ones put together again."""
        return [line.rstrip() for line in self.lines("-J")]

    def until(self, wanted: Callable[[list[str]], bool]) -> list[str]:
        """The screen as soon as it is as wanted."""
        end = time.monotonic() + PATIENCE_S
        while not wanted(lines := self.lines()):
            assert time.monotonic() < end, "\n".join(lines)
            time.sleep(0.05)  # a terminal tells nobody what it shows
        return lines

    def watch(self, url: str, environment: str = "") -> list[str]:
        """The first picture."""
        self.type(f"clear; echo earlier; {environment} '{COMMAND}' agent --watch {url}", "Enter")
        return self.until(lambda lines: lines[0].startswith("OTA agent") and bool(lines[-1]))

    def left_with(self, code: int) -> list[str]:
        """The shell's screen after the end: as it was, keys shown again, with this exit code."""
        self.until(lambda lines: not lines[0].startswith("OTA agent"))
        self.type("echo code $?; stty -a | grep -c ' icanon.* echo '", "Enter")
        lines = self.until(lambda lines: any(line in ("0", "1") for line in lines))
        assert any(line.endswith(f"code {code}") for line in lines), lines
        assert "1" in lines
        assert "earlier" in lines
        return lines


@contextmanager
def terminal(width: int, height: int) -> Iterator[Terminal]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are too long for a socket
        shell = Terminal(Path(folder, "tmux"), width, height)
        try:
            yield shell
        finally:
            shell.tmux("kill-server")


@pytest.mark.parametrize(
    ("width", "height", "pieces"),
    [
        (80, 24, ["3 workers", "1,234 sent", "per s", "left", "sending", "24:0a:c4:00:00:01",
                  "thermo 2.0.0 ━╸", "19%", "and 383 more", "q leaves"]),
        (200, 60, ["since start", "address", "protocol", "of 1.05 MB", "2.00 kB/s", "age",
                   "factory-7/hall-3", "192.0.2.4:50123", "and 347 more", "http://127.0.0.1:"]),
        (40, 10, ["OTA agent 0.1.0", "sending", "19%", "and 397 more"]),
    ],
)  # fmt: skip
def test_all_pieces_are_on_the_terminal_and_none_is_folded(
    width: int, height: int, pieces: list[str]
) -> None:
    admin = AdminPort(fleet(400))
    with serving(admin) as url, terminal(width, height) as shell:
        shell.watch(url)
        lines = shell.until(lambda lines: lines == shell.unfolded())
        assert len(lines) == height
        text = "\n".join(lines)
        assert not [piece for piece in pieces if piece not in text], text
        assert max(map(int, admin.limits)) <= height
        shell.type("q")
        assert not any("OTA agent" in line for line in shell.left_with(0))


def test_ctrl_c_leaves_the_terminal_as_it_was() -> None:
    with serving(AdminPort(fleet(4))) as url, terminal(80, 24) as shell:
        shell.watch(url)
        shell.type("C-c")
        shell.left_with(0)


def test_sigterm_leaves_the_terminal_as_it_was() -> None:
    with serving(AdminPort(fleet(4))) as url, terminal(80, 24) as shell:
        shell.watch(url, "timeout --foreground --preserve-status 3")
        shell.left_with(0)


def test_ctrl_z_gives_the_shell_its_screen_and_fg_comes_back() -> None:
    with serving(AdminPort(fleet(4))) as url, terminal(80, 24) as shell:
        shell.type("set -m", "Enter")
        shell.watch(url)
        shell.type("C-z")
        shell.until(lambda lines: any("Stopped" in line for line in lines))
        shell.type("fg", "Enter")
        shell.until(lambda lines: lines[0].startswith("OTA agent"))
        shell.type("q")
        shell.left_with(0)


def test_another_size_of_the_terminal_is_taken_up_at_once() -> None:
    with serving(AdminPort(fleet(400))) as url, terminal(80, 24) as shell:
        shell.watch(f"{url} --interval 3600")
        shell.tmux("resize-window", "-x", "200", "-y", "60")
        lines = shell.until(lambda lines: lines[-1].startswith("and 347 more"))
        assert len(lines[5]) > 190
        shell.tmux("resize-window", "-x", "50", "-y", "12")
        lines = shell.until(
            lambda lines: lines[-1].startswith("and 395 more") and lines == shell.unfolded()
        )
        assert max(map(len, lines)) <= 50


def test_an_agent_that_is_away_is_waited_for() -> None:
    port = free_port()
    with terminal(80, 24) as shell:
        with serving(AdminPort(fleet(4)), port) as url:
            shell.watch(url)
        lines = shell.until(lambda lines: lines[4].startswith("no answer for "))
        assert "trying again" in lines[4]
        assert "thermo-0" in lines[6]
        with serving(AdminPort(answer(session(board="back-again"))), port):
            lines = shell.until(lambda lines: "back-again" in lines[6])
            assert lines[4] == ""


def test_a_terminal_of_ascii_gets_ascii_and_no_color_none() -> None:
    said = answer(session(board="thermö\x07"), agent={"workers_missing": 1})
    with serving(AdminPort(said)) as url, terminal(80, 24) as shell:
        assert "thermö" in "".join(shell.watch(url))
        assert "\x1b[31m" in "".join(shell.lines("-e")).replace("\x1b[1;31m", "\x1b[31m")
        shell.type("q")
        shell.left_with(0)
        lines = shell.watch(url, "LC_ALL=C NO_COLOR=1")
        assert "".join(lines).isascii()
        assert "therm\\xf6" in lines[6]
        assert "####..... " in lines[6]
        assert "\x1b[3" not in "".join(shell.lines("-e")).replace("\x1b[39m", "")
