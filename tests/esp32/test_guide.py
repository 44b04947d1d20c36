"""docs/esp32.md: its commands exist, with their options, and its files are there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from ota_cli.command_line import cli
from tests import micropython_port

ROOT = micropython_port.ROOT
GUIDE = (ROOT / "docs" / "esp32.md").read_text()
BIN = Path(sys.executable).parent


def commands(program: str) -> list[list[str]]:
    """Arguments of each call of a program in the guide's shell blocks and in its text."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", GUIDE)]
    wanted = [line.strip().removesuffix("&") for line in lines + spans]
    calls = [shlex.split(text, comments=True) for text in wanted if text.startswith(program + " ")]
    assert calls
    return [call[1:] for call in calls]


@pytest.mark.parametrize("arguments", commands("ota-service"), ids=" ".join)
def test_every_ota_service_command_exists_with_its_options(arguments: list[str]) -> None:
    if arguments == ["flash"]:
        assert "There is no `ota-service\nflash`" in GUIDE
        return
    command: click.Command = cli
    rest = list(arguments)
    while isinstance(command, click.Group) and rest:
        found = command.get_command(click.Context(command), rest[0])
        if found is None:  # an option of the group itself, as of `agent`
            break
        command, rest = found, rest[1:]
    assert command is not cli, arguments
    try:
        command.make_context("ota-service", rest)
    except click.MissingParameter:
        raise
    except click.BadParameter:
        pass  # its files are not there


@pytest.mark.parametrize("arguments", commands("esptool"), ids=" ".join)
def test_every_esptool_command_exists(arguments: list[str]) -> None:
    if not (BIN / "esptool").exists():
        pytest.skip("esptool is not installed")
    done = subprocess.run(
        [BIN / "esptool", arguments[0], "--help"], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_mpremote_command_exists() -> None:
    mpremote = pytest.importorskip("mpremote.main", reason="mpremote is not installed")
    mpremote.prepare_command_expansions(SimpleNamespace(commands={}))
    known = {*mpremote._COMMANDS, *mpremote._command_expansions}
    for arguments in commands("mpremote"):
        assert arguments[0] in known, arguments
        if arguments[0] in ("fs", "mip"):
            assert arguments[1] in ("cp", "rm", "install"), arguments


def test_the_files_that_it_copies_are_there() -> None:
    names = set(re.findall(r"micropython/[a-z]+\.(?:py|json)", GUIDE))
    assert {"micropython/boot.py", "micropython/main.py", "micropython/wifi.py"} <= names
    for name in names:
        assert (ROOT / name).is_file(), name
    assert "docs/esp32.md" in (ROOT / "README.md").read_text()
