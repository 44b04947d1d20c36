"""docs/reference/cli.md is what the commands say of themselves; what pages say of them is true."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from documentation.reference import contexts, name_of, render
from tests.docs.pages import DOCS, ROOT, read

PAGE = "reference/cli.md"
COMMANDS = {name_of(context): context.command for context in contexts()}
# Options of other programs that our pages name.
OF_OTHERS = {
    # mpremote, espsecure, curl
    "--version", "--scheme", "--keyfile", "--connect-to", "--cacert", "--data-binary", "--next",
    "--data-raw", "--help",
}  # fmt: skip


def sections() -> dict[str, str]:
    parts = re.split(r"^##+ (.+)\n", read(PAGE), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def options(command: click.Command) -> set[str]:
    """As it takes them, --help too."""
    context = click.Context(command, help_option_names=["-h", "--help"])
    every = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    return {
        name for each in every if not each.hidden for name in (*each.opts, *each.secondary_opts)
    }


def test_the_page_is_what_make_reference_writes() -> None:
    assert read(PAGE) == render(), "run `make reference`"


def test_every_command_is_there_and_no_other() -> None:
    assert list(sections()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_there_and_no_other(name: str) -> None:
    """Read from the page as a person does, not from what made it."""
    text = sections()[name].split("Options:\n")[1].split("Commands:\n")[0]
    shown = set()
    for line in text.splitlines():
        if re.match(r"  -", line):
            shown |= set(re.findall(r"(?:^|[ ,/])(--?[a-z][a-z0-9-]*)", line[:34]))
    assert shown == options(COMMANDS[name])


@pytest.mark.parametrize("name", ["ota-service update", "ota-service board create"])
def test_a_terminal_shows_the_same_words(name: str) -> None:
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        [bin_folder / "ota-service", *name.split()[1:], "--help"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == sections()[name].replace("```text", "").replace("```", "").split()


def test_every_option_that_a_page_names_exists() -> None:
    known = {option for command in COMMANDS.values() for option in options(command)} | OF_OTHERS
    wrong = []
    for path in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        text = path.read_text()
        for call in re.findall(r"ota-service (?:[^`\n]|\\\n)*", text):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", call):
                if option not in known:
                    wrong.append(f"{path.name}: {option} in {call[:60]!r}")
    assert wrong == []
