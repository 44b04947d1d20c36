"""`ota-service completion`: what a shell needs to complete our command lines. click has it all."""

import click
from click.shell_completion import get_completion_class

from ota_cli.errors import EXIT_USAGE, CommandError

_PROGRAM, _VARIABLE = "ota-service", "_OTA_SERVICE_COMPLETE"  # the latter as click looks for it


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that has a shell complete commands, options and files.

    bash needs version 4.4. To have it in every shell, put the line for yours into ~/.bashrc,
    ~/.zshrc (after compinit) or ~/.config/fish/config.fish.

    \b
    Example:
      eval "$(ota-service completion bash)"
      eval "$(ota-service completion zsh)"
      ota-service completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandError(f"completion: this click does not know {shell}", EXIT_USAGE)
    click.echo(kind(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
