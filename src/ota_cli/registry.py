"""`submit`, `list`, `del`, `gen-cert`: the registry of boards, as the originals' programs."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click
from rich.table import Table

from dice import certificate
from dice_auth import enrolment
from dice_auth.errors import DiceAuthError, EnrolmentError
from dice_auth.registry_url import open_registry
from ota_cli import output
from ota_cli.errors import EXIT_USAGE, CommandError

_T = TypeVar("_T")

DEFAULT_REGISTRY = "sqlite:///dice_auth.sqlite"


def default_registry() -> str:
    """Where the registry is unless told: the originals' environment, else a file here."""
    host = os.environ.get("REDIS_HOST") or os.environ.get("REDIS_SERVICE_SERVICE_HOST")
    return f"redis://{host}:6379" if host else DEFAULT_REGISTRY


registry_option = click.option(
    "--registry",
    default=default_registry,
    show_default=f"{DEFAULT_REGISTRY}, or Redis at REDIS_HOST or REDIS_SERVICE_SERVICE_HOST",
    metavar="URL",
    help="sqlite:///PATH or redis://HOST:6379.",
)


@click.command()
@click.argument("mac")
@registry_option
def submit(mac: str, registry: str) -> None:
    """Enrol the board with this MAC address (aa:bb:cc:dd:ee:ff).

    The root certificate is derived from the MAC, which is public: it labels the board and
    proves nothing about it.
    """
    root = _root_certificate(mac)

    async def enrol() -> bool:
        async with open_registry(registry) as boards:
            return await boards.enrol(mac, root)

    changed = _run(enrol())
    output.say(f"{mac} enrolled" if changed else f"{mac} was enrolled already")


@click.command("list")
@registry_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_boards(registry: str, as_json: bool) -> None:
    """List the enrolled boards."""

    async def read() -> list[dict[str, str]]:
        async with open_registry(registry, create=False) as boards:
            return [
                {"id": record.board_id, "key_id": record.key_id.hex()}
                async for record in boards.boards()
            ]

    records = _run(read())
    if as_json:
        output.print_json(records)
        return
    if not records:
        output.say("no board is enrolled")
        return
    table = Table("id", "key id", box=None, pad_edge=False)
    for record in records:
        table.add_row(output.printable(record["id"]), record["key_id"])
    output.console.print(table)


@click.command("del")
@click.argument("mac")
@registry_option
def delete(mac: str, registry: str) -> None:
    """Remove a board, by its id as typed at enrolment."""

    async def remove() -> bool:
        async with open_registry(registry, create=False) as boards:
            return await boards.remove(mac)

    if not _run(remove()):
        raise CommandError(f"{mac} is not enrolled")
    output.say(f"{mac} removed")


@click.command("gen-cert")
@click.argument("mac")
@click.option("--pem", is_flag=True, help="PEM instead of DER.")
def gen_cert(mac: str, pem: bool) -> None:
    """Write a board's root certificate to standard output, from its MAC."""
    root = _root_certificate(mac)
    if pem:
        click.echo(certificate.to_pem(root), nl=False)
        return
    if sys.stdout.isatty():
        raise CommandError("DER is binary: redirect it to a file, or add --pem", EXIT_USAGE)
    sys.stdout.buffer.write(root)


def _root_certificate(mac: str) -> bytes:
    try:
        return enrolment.root_certificate_for_mac(enrolment.parse_mac(mac))
    except EnrolmentError as error:
        raise CommandError(str(error), EXIT_USAGE) from None


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    try:
        return asyncio.run(work)
    except DiceAuthError as error:
        raise CommandError(str(error)) from None
