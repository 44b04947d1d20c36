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
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes
from ota_cli.micropython_port import run_board
from ota_service import compat
from virtual_esp32 import VirtualBoardError
from virtual_esp32.application import Application
from virtual_esp32.board import power_on

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("flash", type=_FILE)
@listen_option("--http", "127.0.0.1:8032")
@click.option("--agent-ca", type=_FILE, help="CA certificate of the agent, PEM or DER.")
@click.option(
    "--policy",
    default="different",
    show_default=True,
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
    agent_ca: Path | None,
    policy: str,
    project: str | None,
    runtime: str,
) -> int:
    """Power the board: boot the flash file and run the example application until interrupted.

    It serves /info, /onboard, /update and /temp. Without --agent-ca it refuses every update.
    --runtime micropython needs the extra esp32-ota-service[micropython].
    """
    certificates = _certificates(agent_ca)
    if runtime == "micropython":
        options = ["--policy", policy]
        options += ["--project", project] if project else []
        options += ["--agent-ca", str(agent_ca)] if agent_ca else []
        with opened(flash):
            return run_board(flash, http, options)
    settings = {"policy": policy, "project": project, "agent_ca": certificates}
    _run_here(flash, http, settings)
    return 0


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


def _certificates(path: Path | None) -> list[bytes]:
    if path is None:
        return []
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
