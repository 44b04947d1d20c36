"""`ota-service provision`: boards get their secrets at manufacture, one by one or as a batch.

Files first, then the registry: an enrolled root always has its image. What the registry refuses
leaves no files; where it is not known whether it took them, they are kept, and enrolling them
again does no harm.
"""

import asyncio
import csv
import io
import os
import shlex
import signal
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import click

from dice import certificate
from dice_auth.batch_file import BatchFile, parse_labels
from dice_auth.enrolment import Enrolment, check_texts
from dice_auth.errors import AlreadyEnrolledError, DiceAuthError, EnrolmentError, RevokedError
from dice_auth.registry_url import open_registry
from ota_cli import board_secret, output
from ota_cli.boards_bar import BoardsBar
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.new_folder import NewFolder, remove, signals_held_back
from ota_cli.production_order import Ordered, file_stem, read_order
from ota_cli.registry import registry_option, run
from ota_crypto import wipe

_T = TypeVar("_T")

_PATH = click.Path(path_type=Path)
_ROOTS = "roots.csv"
_MOST_FLASH_BYTES = 128 * 1024 * 1024
_INTERRUPTED = 130


def _blocks(least: int) -> Callable[[click.Context, click.Parameter, str], int]:
    """A click callback: a number of bytes, whole flash sectors."""

    def parse(ctx: click.Context, param: click.Parameter, value: str) -> int:
        try:
            number = int(value, 0)
        except ValueError:
            number = -1
        if not least <= number <= _MOST_FLASH_BYTES or number % board_secret.BLOCK_BYTES:
            raise click.BadParameter(
                f"{value!r:.40}: expected a multiple of 0x1000, at least 0x{least:x}"
            )
        return number

    return parse


@click.command()
@click.argument("board_id", metavar="[ID]", required=False)
@click.option("--csv", "batch", type=_PATH, metavar="FILE", help="A batch: all of it or nothing.")
@click.option("-o", "--output", "folder", required=True, type=_PATH, metavar="FOLDER",
              help="Where the files go; a batch makes it.")  # fmt: skip
@click.option("--size", default="0x4000", show_default=True, metavar="BYTES",
              callback=_blocks(board_secret.LEAST_IMAGE_BYTES),
              help="Size of the board's nvs partition.")  # fmt: skip
@click.option("--offset", default="0x9000", show_default=True, metavar="BYTES",
              callback=_blocks(board_secret.BLOCK_BYTES),
              help="Where that partition begins, for the line that flashes it.")  # fmt: skip
@registry_option
@click.option("--application", metavar="NAME", help="What the board runs, for your own use.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--no-enrol", is_flag=True, help="Only make the files.")
def provision(
    board_id: str | None,
    batch: Path | None,
    folder: Path,
    size: int,
    offset: int,
    registry: str,
    application: str | None,
    labels: tuple[str, ...],
    no_enrol: bool,
) -> None:
    """Give a new board its secret: an NVS image to flash, its root certificate enrolled.

    FOLDER gets ID-nvs.bin, which holds the board's secret and is readable by you alone, and
    ID-root.pem, which is public; nothing is overwritten. The secret is nowhere else.

    \b
    The first line of a CSV file names its columns:
      id, or mac       one of them
      application      optional
      labels           optional, name=value;name=value
    A batch also gets FOLDER/roots.csv, which `submit --csv` takes.

    \b
    Example:
      ota-service provision desk -o secrets
      ota-service provision --csv order.csv -o batch-7
    """
    where = None if no_enrol else registry
    if batch is not None:
        if board_id is not None or application is not None or labels:
            raise CommandError(
                "with --csv all is in the file: no ID, --application or --label", EXIT_USAGE
            )
        _provision_batch(read_order(batch), folder, size, offset, where)
    elif board_id is None:
        raise CommandError("expected an id, or --csv FILE", EXIT_USAGE)
    else:
        _provision_one(board_id, folder, size, offset, where, application, labels)


# -- one board ------------------------------------------------------------------------------------


def _provision_one(
    board_id: str,
    folder: Path,
    size: int,
    offset: int,
    registry: str | None,
    application: str | None,
    labels: tuple[str, ...],
) -> None:
    try:
        stem = file_stem(board_id)
        parsed = parse_labels("\0".join(labels), "\0") if labels else None
        check_texts(application, parsed)
    except EnrolmentError as error:
        raise CommandError(str(error), EXIT_USAGE) from None
    image_path, root_path = folder / _image_name(stem), folder / _root_name(stem)
    again = f"ota-service submit {shlex.quote(board_id)} --root {shlex.quote(str(root_path))}"
    _check_registry(registry)
    with _interrupts(image_path, again):
        with NewFolder(folder / stem) as new:
            root = _write_board(new, stem, size)
            new.move_files(folder)
        board = Enrolment.of(board_id, root, application=application, labels=parsed)
        if registry is not None:
            _enrol(_enrol_one(registry, board), (image_path, root_path), again)
    output.say(f"{board_id} has a secret" + (", and is enrolled" if registry is not None else ""))
    output.print_fields(
        {"root SHA-256": sha256(root).hexdigest(), "root key id": board.key_id.hex()}
    )
    output.say(f"{root_path}: the root certificate, public")
    output.say(f"{image_path}: the secret, as an NVS image; flash it, then delete it:")
    output.say("  " + _flash_line(offset, str(image_path)))
    if registry is None:
        output.say(f"Not enrolled yet: {again}")


async def _enrol_one(registry: str, board: Enrolment) -> int:
    async with open_registry(registry) as boards:
        return await boards.enrol_all([board])


# -- a batch --------------------------------------------------------------------------------------


def _provision_batch(
    boards: list[Ordered], folder: Path, size: int, offset: int, registry: str | None
) -> None:
    again = f"ota-service submit --csv {shlex.quote(str(folder / _ROOTS))}"
    if os.path.lexists(folder):
        raise CommandError(
            f"{folder} is there already, and a batch makes its folder; if a batch broke off after"
            f" making it, enrol it: {again}"
        )
    _check_registry(registry)
    with _interrupts(folder, again):
        with NewFolder(folder) as new:
            _write_boards(new, boards, size)
            with BoardsBar("saving", 2 * len(boards)) as bar:
                new.become(folder, lambda files: bar.report(files // 2, files))
        if registry is not None:
            _enrol(_enrol_batch(registry, folder / _ROOTS), (folder,), again)
    enrolled = "" if registry is None else ", and enrolled"
    output.say(f"boards with a secret{enrolled}: {len(boards)}")
    output.say(f"{folder / _ROOTS}: their root certificates, public")
    output.say(f"{folder}: their secrets, as NVS images; flash each, then delete it:")
    output.say("  " + _flash_line(offset, str(folder / _image_name(boards[0].stem))))
    if registry is None:
        output.say(f"Not enrolled yet: {again}")


def _write_boards(new: NewFolder, boards: list[Ordered], size: int) -> None:
    """The files of all boards, and of their roots the list that `submit --csv` takes."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(("id", "root", "application", "labels"))
    with BoardsBar("making", len(boards)) as bar:
        for count, board in enumerate(boards, 1):
            root = b64encode(_write_board(new, board.stem, size)).decode()
            writer.writerow((board.board_id, root, board.application, board.labels))
            bar.report(count, count)
    new.write(_ROOTS, rows.getvalue().encode())


async def _enrol_batch(registry: str, roots: Path) -> int:
    """From the file, as `submit --csv` would: what can be enrolled again is what was."""
    with BatchFile(roots) as file, BoardsBar("enrolling", file.size) as bar:
        async with open_registry(registry) as boards:
            return await boards.enrol_all(
                file.boards(), progress=lambda count: bar.report(count, file.position)
            )


# -- both -----------------------------------------------------------------------------------------


def _write_board(new: NewFolder, stem: str, size: int) -> bytes:
    """Make a secret and write a board's two files; its root certificate, DER."""
    root, image = board_secret.make(size)
    try:
        new.write(_root_name(stem), certificate.to_pem(root).encode())
        new.write(_image_name(stem), image, secret=True)
    finally:
        wipe(image)
    return root


def _check_registry(registry: str | None) -> None:
    """Raises CommandError, before there are any files, unless the registry answers."""

    async def check(url: str) -> None:
        async with open_registry(url) as boards:
            await boards.check()

    if registry is not None:
        run(check(registry))


def _enrol(work: Coroutine[Any, Any, _T], made: tuple[Path, ...], again: str) -> _T:
    """Enrol what was made. Raises CommandError: refused, and then what was made is removed; or
    it is not known whether it was enrolled, and then it is kept."""
    try:
        # Held back while asyncio is at work on itself: of half a loop it would complain.
        with signals_held_back() as signals:
            try:
                return asyncio.run(_until_signalled(work, signals))
            finally:  # the loop has put the default in its place
                signal.signal(signal.SIGTERM, signal.default_int_handler)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except (AlreadyEnrolledError, EnrolmentError, RevokedError) as error:
        remove(*made)
        raise CommandError(f"{error}; nothing was enrolled, no file kept") from None
    except (DiceAuthError, OSError) as error:
        raise CommandError(f"{error}; {_kept(made[0], again)}") from None


async def _until_signalled(work: Coroutine[Any, Any, _T], signals: set[signal.Signals]) -> _T:
    task = asyncio.ensure_future(work)
    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    try:
        return await task
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)


@contextmanager
def _interrupts(made: Path, again: str) -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does; where files were made by then, it says so."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        if made.exists():
            raise CommandError(f"interrupted; {_kept(made, again)}", _INTERRUPTED) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _kept(made: Path, again: str) -> str:
    return f"whether it was enrolled is not known, so {made} is kept; enrol it: {again}"


def _image_name(stem: str) -> str:
    return f"{stem}-nvs.bin"


def _root_name(stem: str) -> str:
    return f"{stem}-root.pem"


def _flash_line(offset: int, image: str) -> str:
    return f"esptool write-flash 0x{offset:x} {shlex.quote(image)}"
