"""The options of `ota-service agent` that watch a running agent instead of being one."""

from collections.abc import Callable
from typing import Any

import click

from ota_cli.errors import EXIT_USAGE, CommandError

_ADDRESS = "127.0.0.1:4434"  # where an agent's admin port is by default
_INTERVAL_S = 1


def watch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `watch`, None where it is not given, and `interval_s`."""
    interval = click.option(
        "--interval",
        "interval_s",
        type=click.IntRange(1, 86_400),
        default=_INTERVAL_S,
        show_default=True,
        help="Seconds from one question to the next; with --watch.",
    )
    watch = click.option(
        "--watch",
        is_flag=False,
        flag_value=_ADDRESS,
        metavar="[URL]",
        help="Be no agent, but show what a running one is doing, until q or Ctrl-C. URL: its admin"
        f" port, as http://{_ADDRESS} (default), HOST:PORT or PORT.",
    )
    return watch(interval(command))


def watched(context: click.Context, watch: str | None, interval_s: int) -> bool:
    """Watch until it is enough, if the command line says so; whether it did.

    Raises CommandError, and click.UsageError for what does not go with it.
    """
    if watch is None:
        if _is_given(context, "interval_s"):
            raise click.UsageError("--interval: expected --watch beside it", context)
        return False
    others = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in ("watch", "interval_s") and _is_given(context, parameter.name)
    ]
    if context.invoked_subcommand is not None:
        others.append(context.invoked_subcommand)
    if others:
        raise click.UsageError(
            f"--watch: does not go with {', '.join(others)}: it shows an agent that runs already",
            context,
        )
    from ota_cli.watch.address import admin_url
    from ota_cli.watch.show import show

    url = admin_url(watch)
    if url is None:
        shown = "" if "@" in watch else f" {watch!r}"  # there may be a password in it
        raise CommandError(
            f"--watch{shown}: expected an agent's admin port, as http://{_ADDRESS}, HOST:PORT or"
            " PORT",
            EXIT_USAGE,
        )
    show(url, interval_s)
    return True


def _is_given(context: click.Context, name: str | None) -> bool:
    source = context.get_parameter_source(name or "")
    return source is click.core.ParameterSource.COMMANDLINE
