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

`ota-service COMMAND --help` shows the same in a terminal. Exit codes of every command: 0 done, 1 refused
or failed, 2 wrong usage, 130 interrupted. Errors are one line on standard error.
"""


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ("ota-service",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, groups before what is in them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from commands(inner, (*path, name))


def help_text(path: tuple[str, ...], command: click.Command) -> str:
    """What `--help` prints, at a width that does not depend on a terminal."""
    context: click.Context | None = None
    group: click.Command = cli
    for name in path:
        if context is not None:
            found = group.get_command(context, name) if isinstance(group, click.Group) else None
            assert found is not None, path
            group = found
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH}
        context = click.Context(
            group, parent=context, info_name=name, terminal_width=_WIDTH, **settings
        )
    assert context is not None
    return command.get_help(context)


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    for path, command in commands():
        level = "##" if len(path) <= 2 else "###"
        text = "\n".join(line.rstrip() for line in help_text(path, command).splitlines())
        parts.append(f"{level} {' '.join(path)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render())


if __name__ == "__main__":
    main()
