"""`ota-service board run`: power a board and run the example application on it."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from dice import certificate
from ota_cli import output
from ota_cli.addresses import Address, listen_option
from ota_cli.board.flash_file import opened
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes
from ota_cli.micropython_port import run_board
from ota_service import compat
from ota_service.config import Config
from virtual_esp32 import VirtualBoardError
from virtual_esp32.application import Application, read_settings
from virtual_esp32.board import power_on

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("flash", type=_FILE)
@listen_option("--http", "127.0.0.1:8032")
@click.option(
    "--config",
    type=_FILE,
    help="The component's settings as JSON; the options below win over it.",
)
@click.option("--agent-ca", type=_FILE, help="CA certificate of the agent, PEM or DER.")
@click.option(
    "--identity",
    show_default="mac",
    type=click.Choice(["mac", "provisioned"]),
    help="mac labels the board; provisioned proves it, with the secret in its NVS.",
)
@click.option(
    "--policy",
    show_default="different",
    type=click.Choice(["different", "newer", "any"]),
    help="What may be installed.",
)
@click.option("--project", metavar="NAME", help="Install only firmware of this project.")
@click.option(
    "--runtime",
    default="cpython",
    show_default=True,
    type=click.Choice(["cpython", "micropython"]),
    help="What runs the board's code.",
)
def run(
    flash: Path,
    http: Address,
    config: Path | None,
    agent_ca: Path | None,
    identity: str | None,
    policy: str | None,
    project: str | None,
    runtime: str,
) -> int:
    """Power the board: boot the flash file and run the example application until interrupted.

    It serves /info, /onboard, /update and /temp. Without the agent's CA it refuses every
    update. --runtime micropython needs the extra esp32-ota-service[micropython].

    \b
    Example:
      ota-service board run flash.bin --agent-ca certs/ca.pem
      ota-service board run flash.bin --http 127.0.0.1:0 --identity provisioned \\
        --agent-ca certs/ca.pem
    """
    settings = _settings(
        config, agent_ca=_certificates(agent_ca), identity=identity, policy=policy, project=project
    )
    if runtime == "micropython":
        options: list[str] = []
        for name, value in (
            ("--config", config),
            ("--agent-ca", agent_ca),
            ("--identity", identity),
            ("--policy", policy),
            ("--project", project),
        ):
            options += [] if value is None else [name, str(value)]
        with opened(flash):
            return run_board(flash, http, options)
    _run_here(flash, http, settings)
    return 0


def _settings(config: Path | None, **given: Any) -> dict[str, Any]:
    """Those of the file, and before them those of the command line. Raises CommandError."""
    settings = _read_settings(config) if config is not None else {}
    settings.update({name: value for name, value in given.items() if value is not None})
    try:
        Config(settings)
    except ValueError as error:
        raise CommandError(f"--{error}", EXIT_USAGE) from None
    return settings


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return read_settings(str(path))
    except OSError as error:
        raise CommandError(
            f"configuration {path}: {(error.strerror or str(error)).lower()}"
        ) from None
    except ValueError as error:
        raise CommandError(f"configuration {path}: {error}") from None


def _run_here(flash: Path, http: Address, settings: dict[str, Any]) -> None:
    def log(name: str, detail: str) -> None:
        output.log_line("board", name, detail)

    def ready(host: str, port: int) -> None:
        output.ready_line(f"board listening on http://{host}:{port}")

    application = Application(http.host, http.port, settings, on_event=log, on_ready=ready)
    with opened(flash) as powered:
        try:
            asyncio.run(_until_signalled(power_on(powered, application)))
        except VirtualBoardError as error:
            raise CommandError(f"{flash}: {error}") from None
        except OSError as error:
            where = f"{http.host}:{http.port}"
            raise CommandError(f"cannot listen on {where}: {error.strerror or error}") from None


async def _until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGINT or SIGTERM: the ordinary ways to switch a board off."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _certificates(path: Path | None) -> list[bytes] | None:
    if path is None:
        return None
    content = read_bytes(path, "CA certificate")
    try:
        if not content.startswith(b"\x30"):
            content = certificate.from_pem(content)
        compat.tls().client_context([content])  # reads it as the update will
    except certificate.CertificateError as error:
        raise CommandError(f"CA certificate {path}: {error}") from None
    except (OSError, ValueError):
        raise CommandError(f"CA certificate {path}: not a certificate") from None
    return [content]
