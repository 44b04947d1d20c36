"""`submit`: enrol a board by its MAC address or root certificate, or a production batch."""

from pathlib import Path

import click

from dice_auth import enrolment
from dice_auth.batch_file import BatchFile, parse_labels, parse_root
from dice_auth.errors import EnrolmentError
from dice_auth.registry_url import open_registry
from ota_cli import output
from ota_cli.boards_bar import BoardsBar
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes
from ota_cli.registry import registry_option, run

_path = click.Path(path_type=Path)


@click.command()
@click.argument("mac", required=False)
@registry_option
@click.option(
    "--root", type=_path, metavar="CERT.pem", help="The board's root certificate, PEM or DER."
)
@click.option("--csv", "batch", type=_path, metavar="FILE", help="A batch: all of it or nothing.")
@click.option("--application", metavar="NAME", help="What the board runs, for your own use.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--replace", is_flag=True, help="Give an enrolled id another root certificate.")
def submit(
    mac: str | None,
    registry: str,
    root: Path | None,
    batch: Path | None,
    application: str | None,
    labels: tuple[str, ...],
    replace: bool,
) -> None:
    """Enrol the board with this MAC address (aa:bb:cc:dd:ee:ff), or a batch of boards.

    Without --root, the root certificate is derived from the MAC, which is public: it labels the
    board and proves nothing about it. With --root, MAC may be any id, and the board's secret is
    never known here.

    \b
    The first line of a CSV file names its columns:
      mac              or id and root; mac alone derives the root from it
      root             root certificate, PEM or base64 of DER
      application      optional
      labels           optional, name=value;name=value

    \b
    Example:
      ota-service submit 24:0a:c4:00:00:01
      ota-service submit desk --root secrets/desk-root.pem
      ota-service submit --csv batch-7/roots.csv
    """
    if batch is not None:
        if mac is not None or root is not None or application is not None or labels:
            raise CommandError(
                "with --csv all is in the file: no MAC, --root, --application or --label",
                EXIT_USAGE,
            )
        _submit_batch(batch, registry, replace)
    elif mac is None:
        raise CommandError("expected a MAC address, or --csv FILE", EXIT_USAGE)
    else:
        _submit_one(mac, registry, root, application, labels, replace)


def _submit_one(
    board_id: str,
    registry: str,
    root: Path | None,
    application: str | None,
    labels: tuple[str, ...],
    replace: bool,
) -> None:
    try:
        if root is None:
            der = enrolment.root_certificate_for_mac(enrolment.parse_mac(board_id))
        else:
            der = _read_root(root)
        parsed = parse_labels("\0".join(labels), "\0") if labels else None
        board = enrolment.Enrolment.of(board_id, der, application=application, labels=parsed)
    except EnrolmentError as error:
        hint = " (an id that is no MAC address needs --root)" if root is None else ""
        raise CommandError(f"{error}{hint}", EXIT_USAGE) from None

    async def enrol() -> int:
        async with open_registry(registry) as boards:
            return await boards.enrol_all([board], replace=replace)

    changed = run(enrol())
    output.say(f"{board_id} enrolled" if changed else f"{board_id} was enrolled already")


def _read_root(path: Path) -> bytes:
    content = read_bytes(path, "root certificate")
    # A SEQUENCE of 256 bytes and more: no text begins so.
    return content if content[:2] == b"\x30\x82" else parse_root(content)


def _submit_batch(path: Path, registry: str, replace: bool) -> None:
    try:
        file = BatchFile(path)
    except OSError as error:
        raise CommandError(f"batch {path}: {(error.strerror or str(error)).lower()}") from None

    async def enrol(bar: BoardsBar) -> int:
        async with open_registry(registry) as boards:
            return await boards.enrol_all(
                file.boards(),
                replace=replace,
                progress=lambda count: bar.report(count, file.position),
            )

    with file, BoardsBar("reading", file.size) as bar:
        changed = run(enrol(bar))
    already = bar.boards - changed
    output.say(
        f"{changed} {'board' if changed == 1 else 'boards'} enrolled"
        + (f", {already} as before" if already else "")
    )
