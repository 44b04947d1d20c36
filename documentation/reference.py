"""Writes docs/reference/cli.md from the commands' own `--help`. `make reference` runs it."""

from collections.abc import Iterator
from pathlib import Path

import click

from ota_cli.command_line import cli

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
_WIDTH = 90
_HEAD = """\
# Command line

<!-- Made by `make reference` from the commands' own help; a test holds it to them. -->

`ota-service COMMAND --help` shows the same in a terminal. Exit codes of every command: 0 done,
1 refused or failed, 2 wrong usage, 130 interrupted. Errors are one line on standard error.
"""


def contexts(command: click.Command = cli, parent: click.Context | None = None,
             name: str = "ota-service") -> Iterator[click.Context]:  # fmt: skip
    """Of every command, groups before what is in them. The width does not depend on a terminal."""
    context = click.Context(
        command,
        parent=parent,
        info_name=name,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield context
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            if inner is not None and not inner.hidden:
                yield from contexts(inner, context, word)


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    for context in contexts():
        level = "##" if context.parent in (None, context.find_root()) else "###"
        lines = context.command.get_help(context).splitlines()
        text = "\n".join(line.rstrip() for line in lines)
        parts.append(f"{level} {name_of(context)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def name_of(context: click.Context) -> str:
    """The words that call it, without arguments."""
    parent = f"{name_of(context.parent)} " if context.parent is not None else ""
    return f"{parent}{context.info_name}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(render())


if __name__ == "__main__":
    main()
