"""Completion of file names for options that take a file or something else, as a URL or a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """As `shell_complete` of an option; the shell looks for them."""
    from click.shell_completion import CompletionItem  # where a shell asks alone

    return [CompletionItem(incomplete, type="file")]
