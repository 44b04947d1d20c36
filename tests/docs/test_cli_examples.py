"""Every command's help shows how it is called, and what it shows is a command line that parses."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from documentation.reference import contexts, name_of
from ota_cli.command_line import cli

CONTEXTS = {name_of(context): context for context in contexts()}


def lines(help_text: str) -> Iterator[str]:
    """The calls of the Example block, each on one line, without a shell's own words."""
    block = re.search(r"^  Example:\n((?:    .+\n)+)", f"{help_text}\n", re.M)
    assert block is not None, help_text
    text = block.group(1).replace("\\\n", " ")
    for line in text.splitlines():
        call = re.search(r"ota-service [^|>)]*", line)
        assert call is not None, line
        yield call.group()


@pytest.mark.parametrize("name", CONTEXTS)
def test_help_is_a_sentence_and_an_example_of_this_very_command(name: str) -> None:
    context = CONTEXTS[name]
    text = context.command.get_help(context)
    assert re.search(r"^  [A-Z][^\n]*(?:\n  [^\n]+)*[.:?]", text.split("\n\n", 1)[1]), text
    assert any(call.startswith(f"{name} ") or call == name for call in lines(text + "\n"))


@pytest.mark.parametrize("name", CONTEXTS)
def test_what_an_example_shows_is_a_command_line_that_parses(name: str) -> None:
    """By click itself, down to the last option; nothing is run."""
    context = CONTEXTS[name]
    for call in lines(context.command.get_help(context) + "\n"):
        parse(cli, shlex.split(call)[1:], None)


def parse(command: click.Command, words: list[str], parent: click.Context | None) -> None:
    if "--help" in words and not isinstance(command, click.Group):
        return
    context = command.make_context(command.name, list(words), parent=parent)
    if not isinstance(command, click.Group):
        return
    rest = [*context._protected_args, *context.args]
    if rest:
        name, inner, more = command.resolve_command(context, rest)
        assert inner is not None, name
        parse(inner, more, context)
