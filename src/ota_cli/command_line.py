"""The `ota-service` command: puts the subcommands together and turns errors into one line.

Exit codes: 0 done, 1 refused or failed, 2 usage.
"""

import os
import sys
from importlib import import_module
from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

from ota_cli import verbose
from ota_cli.errors import EXIT_REFUSED, CommandError

# name -> module:object. Loaded when used: `ota-service list` need not load a TLS server.
_COMMANDS = {
    "agent": "ota_cli.agent:agent",
    "attest": "ota_cli.attest:attest",
    "board": "ota_cli.board:board",
    "completion": "ota_cli.completion:completion",
    "del": "ota_cli.registry:delete",
    "demo": "ota_cli.demo:demo",
    "doctor": "ota_cli.doctor.command:doctor",
    "gen-cert": "ota_cli.registry:gen_cert",
    "image": "ota_cli.image:image",
    "list": "ota_cli.registry:list_boards",
    "provision": "ota_cli.provision:provision",
    "revoke": "ota_cli.registry:revoke",
    "show": "ota_cli.registry:show",
    "submit": "ota_cli.submit:submit",
    "update": "ota_cli.update:update",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is not a command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names alone: what click would say of each it would import each for, at every Tab."""
        names = [CompletionItem(name) for name in _COMMANDS if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="esp32-ota-service", prog_name="ota-service")
@click.option(
    "-v",
    "--verbose",
    "is_verbose",
    is_flag=True,
    help="Say on standard error what is being done, with the time.",
)
@click.pass_context
def cli(context: click.Context, is_verbose: bool) -> None:
    """Secure over-the-air updates for ESP32 boards.

    Exit codes: 0 done, 1 refused or failed, 2 usage.

    \b
    Example:
      ota-service demo
      ota-service update --help
      ota-service -v update http://127.0.0.1:8032 --agent 127.0.0.1
      eval "$(ota-service completion bash)"
    """
    if is_verbose:
        verbose.turn_on()
        took = verbose.Took()
        command = context.invoked_subcommand or ""
        verbose.tell(f"{command}: ota-service {version('esp32-ota-service')}")
        context.call_on_close(lambda: verbose.tell(f"{command}: ended after {took}"))


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        result = cli.main(arguments, prog_name="ota-service", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "ota-service"
        message = " ".join(error.format_message().split())
        _complain(f"{where}: {message} ({_next_step(error, where)})")
        return error.exit_code
    except CommandError as error:
        _complain(f"ota-service: {error}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("ota-service: interrupted")
        return 130
    except BrokenPipeError:
        _discard_output()
        return EXIT_REFUSED
    except OSError as error:
        _complain(f"ota-service: {(error.strerror or str(error)).lower()}")
        _discard_output()
        return EXIT_REFUSED
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        _complain(
            f"ota-service: a bug: {type(error).__name__}: {error} "
            "(python -X dev -m ota_cli shows where)"
        )
        return EXIT_REFUSED
    return result if isinstance(result, int) else 0


def _next_step(error: click.ClickException, where: str) -> str:
    """What to do after wrong usage."""
    if isinstance(error, click.NoSuchOption) and error.option_name in ("-v", "--verbose"):
        return f"it goes before the command: ota-service {error.option_name} COMMAND"
    return f"see {where} --help"


def _complain(text: str) -> None:
    """One line on standard error, whatever the text holds."""
    from ota_cli.output import printable  # brings in rich: only when there is something to say

    click.echo(printable(text).replace("\n", "\\n"), err=True)


def _discard_output() -> None:
    """Standard output cannot take more; Python must not complain about it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
