"""`ota-service board`: make, run and look at virtual boards."""

import asyncio
import secrets
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from dice import certificate
from esp_image import ImageError
from ota_cli import images, output, virtual_board
from ota_cli.addresses import Address, listen_option
from ota_cli.chip_option import chip_option
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes, write_bytes
from ota_cli.micropython_port import run_board
from ota_cli.sizes import parse_size
from virtual_esp32 import VirtualBoardError
from virtual_esp32.application import Application
from virtual_esp32.board import power_on
from virtual_esp32.efuse import EFuse, format_mac, parse_mac, sidecar_path
from virtual_esp32.manufacture import flash_content

_FILE = click.Path(path_type=Path)


@click.group()
def board() -> None:
    """Virtual ESP32 boards: a flash file, its eFuse values beside it."""


@board.command()
@click.argument("flash", type=_FILE)
@click.option("--app", required=True, type=_FILE, help="First firmware, goes into ota_0.")
@chip_option()
@click.option(
    "--size",
    default="4MB",
    show_default=True,
    metavar="SIZE",
    callback=parse_size,
    help="Flash size.",
)
@click.option("--mac", metavar="MAC", help="Wi-Fi MAC, aa:bb:cc:dd:ee:ff. [default: a random one]")
@click.option(
    "--trust",
    type=_FILE,
    help="Public key (PEM) that updates must be signed with. [default: the running firmware's]",
)
def create(
    flash: Path, app: Path, chip: str, size: int, mac: str | None, trust: Path | None
) -> None:
    """Make the flash file of a new board, with MicroPython's OTA partition table."""
    if flash.exists():
        raise CommandError(f"{flash} exists: remove it first, or choose another name")
    content = read_bytes(app, "app")
    fields = images.describe(content, str(app))
    if fields["chip"] != chip:
        raise CommandError(f"{app}: built for {fields['chip']}, the board is {chip} (see --chip)")
    trusted = [images.key_digest(trust)] if trust is not None else []
    try:
        # 02: a locally administered address, so that it is nobody's
        address = parse_mac(mac) if mac is not None else b"\x02" + secrets.token_bytes(5)
    except VirtualBoardError as error:
        raise CommandError(str(error), EXIT_USAGE) from None
    try:
        efuse = EFuse(address, chip=chip, trusted_keys=trusted)
        image = flash_content(size, content)
    except (VirtualBoardError, ImageError) as error:
        raise CommandError(str(error)) from None
    write_bytes(Path(sidecar_path(flash)), efuse.to_json().encode() + b"\n", "eFuse file")
    write_bytes(flash, bytes(image), "flash file")
    output.console.print(
        f"{flash}: {chip}, MAC {format_mac(address)}, "
        f"{fields['project']} {fields['version']} in ota_0",
        soft_wrap=True,
    )


@board.command()
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
        with virtual_board.opened(flash):
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
    with virtual_board.opened(flash) as powered:
        try:
            asyncio.run(_until_signalled(power_on(powered, application)))
        except VirtualBoardError as error:
            raise CommandError(f"{flash}: {error}") from None
        except OSError as error:
            where = f"{http.host}:{http.port}"
            raise CommandError(f"cannot listen on {where}: {error.strerror or error}") from None


@board.command()
@click.argument("flash", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(flash: Path, as_json: bool) -> None:
    """Show what a board's flash holds and what it would boot; changes nothing."""
    with virtual_board.opened(flash, copy=True) as looked_at:
        try:
            fields = virtual_board.describe(looked_at)
        except VirtualBoardError as error:
            raise CommandError(f"{flash}: {error}") from None
    if as_json:
        output.print_json(fields)
        return
    slots = fields.pop("slots")
    output.print_fields(fields)
    table = Table(
        "slot", "offset", "size", "project", "version", "state", "image", box=None, pad_edge=False
    )
    for slot in slots:
        row = (slot["project"], slot["version"], slot["state"], slot["image"])
        table.add_row(
            slot["label"],
            f"0x{slot['offset']:x}",
            f"0x{slot['size']:x}",
            *(str(c or "-") for c in row),
        )
    output.console.print()
    output.console.print(table)


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
    if not content.startswith(b"\x30"):
        try:
            content = certificate.from_pem(content)
        except certificate.CertificateError as error:
            raise CommandError(f"CA certificate {path}: {error}") from None
    return [content]
