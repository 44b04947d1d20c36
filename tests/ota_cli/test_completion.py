"""`ota-service completion`, asked of the shells themselves: what they offer, what they insert."""

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.ota_cli.processes import COMMAND, done

ENVIRONMENT = {
    "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}", "TERM": "dumb", "LC_ALL": "C.UTF-8",
}  # fmt: skip
_DEADLINE_S = 20
# What is typed, and what it becomes at a tab, since there is one thing only that fits.
INSERTED = {
    "ota-service upd": "ota-service update ",
    "ota-service board cr": "ota-service board create ",
    "ota-service -v agent ini": "ota-service -v agent init ",
    "ota-service update --tr": "ota-service update --trigger-key ",
    "ota-service board run x --identity p": "ota-service board run x --identity provisioned ",
    "ota-service board run x --identity=p": "ota-service board run x --identity=provisioned ",
    "ota-service completion z": "ota-service completion zsh ",
    "ota-service image info ther": "ota-service image info thermo.bin ",
    "ota-service board create x --app=ther": "ota-service board create x --app=thermo.bin ",
    "ota-service agent --firmware ther": "ota-service agent --firmware thermo.bin ",
    "ota-service doctor --trust ther": "ota-service doctor --trust thermo.bin ",
}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(shell) is None, reason=f"no {shell} here (Debian has it)"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "thermo.bin").write_text("")
    return tmp_path


class Interactive:
    """A shell at a terminal, wide enough for one line, that has been given our script."""

    def __init__(self, folder: Path, *words: str, setup: str) -> None:
        self._controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self._process = subprocess.Popen(
            words, stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder,
            env={**ENVIRONMENT, "HOME": str(folder), "PS1": "> "}, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        # Not as it is typed, but as it is printed.
        self.after(f"{setup}; echo SET''UP\n", "SETUP\r\n")

    def after(self, typed: str, wanted: str) -> str:
        """What is shown until what is wanted is there."""
        os.write(self._controller, typed.encode())
        shown, until = "", time.monotonic() + _DEADLINE_S
        while wanted not in shown:
            left = until - time.monotonic()
            assert left > 0 and select.select([self._controller], [], [], left)[0], repr(shown)
            shown += os.read(self._controller, 65536).decode()
        return shown

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._controller)


def zsh(folder: Path) -> Interactive:
    setup = 'autoload -Uz compinit; compinit -u -D; eval "$(ota-service completion zsh)"'
    return Interactive(folder, "zsh", "-f", "-i", setup=setup)


def bash(folder: Path) -> Interactive:
    setup = "bind 'set enable-bracketed-paste off'; eval \"$(ota-service completion bash)\""
    return Interactive(folder, "bash", "--norc", "-i", setup=setup)


@pytest.mark.parametrize(
    "shell", [pytest.param(bash, marks=needs("bash")), pytest.param(zsh, marks=needs("zsh"))]
)
def test_bash_and_zsh_insert_what_is_meant(shell: object, folder: Path) -> None:
    """Typed at a terminal, with a tab."""
    assert callable(shell)
    opened = shell(folder)
    try:
        for typed, inserted in INSERTED.items():
            opened.after(f"{typed}\t", inserted)
            opened.after("\x15echo NE''XT\n", "NEXT\r\n")  # ^U: the line is taken away
    finally:
        opened.close()


@needs("zsh")
def test_zsh_says_what_each_of_several_is(folder: Path) -> None:
    opened = zsh(folder)
    try:
        opened.after("ota-service image s\t", "stamp  -- Write version and project name into")
        opened.after("\x15ota-service revoke --re\t", "--reason    -- Why; kept, and shown by")
    finally:
        opened.close()


def offered_by_fish(folder: Path, *lines: str) -> list[list[str]]:
    """For each line, as fish itself would offer it."""
    script = "ota-service completion fish | source\nfor line in $argv\n"
    script += "complete --do-complete $line\necho =====\nend"
    said = subprocess.run(
        ["fish", "--no-config", "--command", script, *lines], cwd=folder, env=ENVIRONMENT,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert said.stderr == ""
    return [each.splitlines() for each in said.stdout.split("=====\n")[:-1]]


@needs("fish")
def test_fish_offers_what_is_meant(folder: Path) -> None:
    found = offered_by_fish(folder, *INSERTED)
    for (typed, inserted), offered in zip(INSERTED.items(), found, strict=True):
        (only,) = offered
        assert only.split("\t")[0] == inserted.split()[-1], typed


@needs("fish")
def test_fish_says_what_each_of_several_is(folder: Path) -> None:
    """All of it: a description may have commas."""
    stamps, reasons = offered_by_fish(folder, "ota-service image s", "ota-service revoke --re")
    assert [line.split("\t")[0] for line in stamps] == ["sign", "stamp"]
    assert "--reason\tWhy; kept, and shown by `show`." in reasons


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_of_its_own(shell: str) -> None:
    assert f"_OTA_SERVICE_COMPLETE={shell}_complete" in done("completion", shell)


def test_completing_a_command_imports_none() -> None:
    code = (
        "import sys; from ota_cli.command_line import cli\n"
        "from click.shell_completion import ShellComplete\n"
        "found = ShellComplete(cli, {}, 'ota-service', 'X').get_completions([], 'up')\n"
        "print([each.value for each in found], [n for n in sys.modules if n == 'ota_cli.update'])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout == "['update'] []\n"
