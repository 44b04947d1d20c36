"""`list`, `show`, `del`, `revoke`, `gen-cert`: the registry of boards, as the originals' programs
where they had one."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from dice import certificate
from dice_auth import enrolment
from dice_auth.errors import DiceAuthError, EnrolmentError, MissingRegistryError
from dice_auth.record_fields import fields_of, time_text
from dice_auth.registry import BoardRecord, Revocation
from dice_auth.registry_url import open_registry
from ota_cli import output, verbose
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes
from ota_cli.rows import print_rows

_T = TypeVar("_T")

DEFAULT_REGISTRY = "sqlite:///dice_auth.sqlite"
_MOST_REASON_CHARS = 200


def default_registry() -> str:
    """Where the registry is unless told: a file with its URL, the originals' environment, else a
    file here. A URL with a password is for a file: arguments and environment can be seen."""
    if path := registry_file():
        return url_in(path)
    host = os.environ.get("REDIS_HOST") or os.environ.get("REDIS_SERVICE_SERVICE_HOST")
    return f"redis://{host}:6379" if host else DEFAULT_REGISTRY


def registry_file() -> Path | None:
    """The file that OTA_REGISTRY_FILE names."""
    path = os.environ.get("OTA_REGISTRY_FILE")
    return Path(path) if path else None


def url_in(path: Path) -> str:
    """The URL in a registry file. Raises CommandError, which tells nothing of what stands there."""
    content = read_bytes(path, "OTA_REGISTRY_FILE").strip()
    if not content or not content.isascii() or len(content.split()) != 1:
        raise CommandError(
            f"OTA_REGISTRY_FILE {path}: expected one line, the registry's URL", EXIT_USAGE
        )
    return content.decode()


def _tell(ctx: click.Context, param: click.Parameter, value: str) -> str:
    verbose.tell(f"registry: {verbose.without_password(value)}")
    return value


registry_option = click.option(
    "--registry",
    callback=_tell,
    default=default_registry,
    show_default="the URL in the file OTA_REGISTRY_FILE, or Redis at REDIS_HOST or"
    f" REDIS_SERVICE_SERVICE_HOST, or {DEFAULT_REGISTRY}",
    metavar="URL",
    help="sqlite:///PATH, redis://HOST:6379 or, over TLS, rediss://HOST:6379?ca=FILE.",
)


@click.command("list")
@registry_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_boards(registry: str, as_json: bool) -> None:
    """List the enrolled boards.

    \b
    Example:
      ota-service list
      ota-service list --registry sqlite:///boards.sqlite --json
    """
    run(_print_json(registry) if as_json else _print_table(registry))


async def _print_json(registry: str) -> None:
    """One array, an element a line, written while it is read: a registry may be large."""
    async with open_registry(registry, create=False) as boards:
        separator = "[\n"
        async for record in boards.boards():
            sys.stdout.write(separator + json.dumps(fields_of(record)))
            separator = ",\n"
        sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


async def _print_table(registry: str) -> None:
    with output.waiting("reading the registry"):
        async with open_registry(registry, create=False) as boards:
            rows = [_row(record) async for record in boards.boards()]
    if rows:
        print_rows(("id", "state", "application", "last seen", "last verdict"), rows)
    else:
        output.say("no board is enrolled; `ota-service provision` or `submit` enrols one")


def _row(record: BoardRecord) -> tuple[str, ...]:
    return (
        record.board_id,
        record.state,
        record.application or "-",
        time_text(record.last_seen) or "-",
        record.last_verdict or "-",
    )


@click.command()
@click.argument("mac")
@registry_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(mac: str, registry: str, as_json: bool) -> None:
    """Show what is known of a board, by its id as typed at enrolment.

    \b
    Example:
      ota-service show 24:0a:c4:00:00:01
    """

    async def read() -> BoardRecord | None:
        async with open_registry(registry, create=False) as boards:
            return await boards.get(mac)

    record = run(read())
    if record is None:
        raise _not_enrolled(mac)
    if as_json:
        output.print_json(fields_of(record) | {"root": certificate.to_pem(record.root)})
        return
    fields = fields_of(record)
    fields["labels"] = ", ".join(f"{name}={value}" for name, value in record.labels.items())
    output.print_fields({name.replace("_", " "): value for name, value in fields.items()})


@click.command("del")
@click.argument("mac")
@registry_option
def delete(mac: str, registry: str) -> None:
    """Remove a board, by its id as typed at enrolment.

    It can be enrolled again, unless it was revoked. Revoke a board that was stolen.

    \b
    Example:
      ota-service del 24:0a:c4:00:00:01
    """

    async def remove() -> bool:
        async with open_registry(registry, create=False) as boards:
            return await boards.remove(mac)

    if not run(remove()):
        raise _not_enrolled(mac)
    output.say(f"{mac} removed")


@click.command()
@click.argument("mac")
@registry_option
@click.option("--reason", metavar="TEXT", help="Why; kept, and shown by `show`.")
@click.option("--undo", is_flag=True, help="Take the revocation back.")
def revoke(mac: str, registry: str, reason: str | None, undo: bool) -> None:
    """Refuse a board from now on, by its id as typed at enrolment.

    What is revoked is the key of its root certificate: the board stays refused if it is removed
    and enrolled again. --undo for an id that was removed takes the newest revocation back that is
    kept under it, and leaves older ones, of roots that were replaced.

    \b
    Example:
      ota-service revoke 24:0a:c4:00:00:01 --reason 'stolen from hall 4'
      ota-service revoke 24:0a:c4:00:00:01 --undo
    """
    if undo:
        if reason is not None:
            raise CommandError("--undo takes no --reason", EXIT_USAGE)
        if not run(_reinstate(mac, registry)):
            raise CommandError(f"{mac} is not revoked")
        output.say(f"the revocation of {mac} is taken back")
        return
    if not reason or not reason.isprintable() or len(reason) > _MOST_REASON_CHARS:
        raise CommandError(
            f"--reason: expected one line of 1 to {_MOST_REASON_CHARS} characters", EXIT_USAGE
        )
    if not run(_revoke(mac, registry, reason)):
        raise _not_enrolled(mac)
    output.say(f"{mac} revoked")


async def _revoke(mac: str, registry: str, reason: str) -> Revocation | None:
    async with open_registry(registry, create=False) as boards:
        return await boards.revoke(mac, Revocation(reason, int(time.time())))


async def _reinstate(mac: str, registry: str) -> bool:
    async with open_registry(registry, create=False) as boards:
        return await boards.reinstate(mac)


@click.command("gen-cert")
@click.argument("mac")
@click.option("--pem", is_flag=True, help="PEM instead of DER.")
def gen_cert(mac: str, pem: bool) -> None:
    """Write a board's root certificate to standard output, from its MAC.

    \b
    Example:
      ota-service gen-cert 24:0a:c4:00:00:01 > root.der
      ota-service gen-cert 24:0a:c4:00:00:01 --pem
    """
    try:
        root = enrolment.root_certificate_for_mac(enrolment.parse_mac(mac))
    except EnrolmentError as error:
        raise CommandError(str(error), EXIT_USAGE) from None
    if pem:
        click.echo(certificate.to_pem(root), nl=False)
        return
    if sys.stdout.isatty():
        raise CommandError("DER is binary: redirect it to a file, or add --pem", EXIT_USAGE)
    sys.stdout.buffer.write(root)


def _not_enrolled(board_id: str) -> CommandError:
    return CommandError(f"{board_id} is not enrolled (`ota-service list` shows who is)")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Work on a registry; what it raises becomes the command's one line."""
    try:
        return asyncio.run(work)
    except EnrolmentError as error:
        raise CommandError(str(error), EXIT_USAGE) from None
    except MissingRegistryError as error:
        raise CommandError(
            f"{error} (is --registry right? submit and provision make one)"
        ) from None
    except DiceAuthError as error:
        raise CommandError(str(error)) from None
