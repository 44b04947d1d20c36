"""The command line as a whole: colours, tables at a terminal's width, output that nobody takes."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.ota_cli.processes import COMMAND, done


def on_terminal(*arguments: object, columns: int = 80, **environment: str) -> str:
    """What a command writes to a terminal of this width."""
    controller, terminal = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)], stdin=terminal, stdout=terminal, stderr=terminal,
        env={**kept, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment},
    )  # fmt: skip
    os.close(terminal)
    said = b""
    try:
        while piece := os.read(controller, 65536):
            said += piece
    except OSError:  # as Linux says that nobody has it open any more
        pass
    finally:
        os.close(controller)
        process.wait(60)
    return said.decode()


# -- terminals ------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'r.sqlite'}"
    secrets = tmp_path / "secrets"
    for board in ("desk", "x" * 60):
        done("provision", board, "-o", secrets, "--registry", url,
             "--application", "a thermostat with a rather long name")  # fmt: skip
    return url


def test_a_list_fits_the_terminal_and_a_pipe_gets_all_of_it(registry: str) -> None:
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal("list", "--registry", registry))
    assert max(map(len, shown.replace("\r", "\n").splitlines())) <= 80
    assert "…" in shown
    piped = done("list", "--registry", registry)
    assert "x" * 60 in piped
    assert "…" not in piped


def test_colour_is_for_terminals_and_not_with_no_color(registry: str) -> None:
    """SGR with a colour or bold: `ESC [ ... m`."""
    style = re.compile(r"\x1b\[[0-9;]+m")
    assert style.search(on_terminal("list", "--registry", registry))
    colours = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-9]|9[0-7])[0-9;]*m")
    plain = on_terminal("doctor", "--agent-ca", "/no/such", NO_COLOR="1")
    assert not colours.search(plain), plain
    assert colours.search(on_terminal("doctor", "--agent-ca", "/no/such"))
    assert "\x1b" not in done("list", "--registry", registry)


# -- output that cannot be taken ------------------------------------------------------------------


def said_into(stdout: int) -> tuple[int, str]:
    """Exit code and standard error of a command that has something to print, buffered as it is
    outside of tests: what is left in the buffer Python would complain about at exit."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [COMMAND, "gen-cert", "--pem", "24:0a:c4:00:00:01"], stdout=stdout, stderr=subprocess.PIPE,
        env=environment, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_a_reader_that_is_gone_is_told_by_the_exit_code_alone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert said_into(writer) == (1, "")
    finally:
        os.close(writer)


def test_a_full_disk_under_standard_output_is_one_line() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert said_into(full) == (1, "ota-service: no space left on device\n")
    finally:
        os.close(full)
