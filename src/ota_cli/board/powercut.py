"""`ota-service board powercut`: cuts the power everywhere in an update, and looks what boots."""

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from esp_image import ImageError
from ota_cli import images, output, verbose
from ota_cli.board.flash_file import opened
from ota_cli.errors import EXIT_REFUSED, EXIT_USAGE, CommandError
from ota_cli.files import read_bytes, write_bytes
from virtual_esp32 import VirtualBoardError
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse, sidecar_path
from virtual_esp32.flash import NorFlash
from virtual_esp32.power_cut_choice import EXHAUSTIVE, SAMPLED, THOROUGH, TWO_CUTS, Cut
from virtual_esp32.power_cut_verdict import Verdict
from virtual_esp32.power_cuts import Proof, ProofError

_FILE = click.Path(path_type=Path)
_FAILURES_SHOWN = 20
_SMALL_LIFE = 1000  # operations, up to which each gets more than one fault of a kind
_KINDS = {
    "cut-before": "before an operation",
    "cut-after": "after an operation",
    "cut-erase": "in the middle of an erase",
    "cut-write": "in a write, between two words",
    "torn-write": "in a write, within a word",
    "fails": "no cut: an operation fails",
    "lost-write": "no cut: a write does not take",
    "lost-words": "no cut: words of a write do not take",
    TWO_CUTS: "a second cut after the first",
}


class _CutType(click.ParamType):  # type: ignore[type-arg]
    name = "cut"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Cut:
        try:
            return Cut.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("flash", type=_FILE)
@click.option("--firmware", required=True, type=_FILE, help="What the board is updated to, signed.")
@click.option("--all", "exhaustive", is_flag=True, help="Every word of every write, every pair.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--keep", metavar="DIR", type=_FILE, help="Keep flash files after cuts here.")
@click.option("--sample", metavar="N", help="How many of them.  [default: 10]",
              type=click.IntRange(1, 100_000))  # fmt: skip
@click.option("--seed", metavar="N", type=click.IntRange(0, 2**32 - 1),
              help="For what is left to chance. [default: a random one]")  # fmt: skip
@click.option(
    "--only", metavar="OPERATION:KIND[:SEED]", type=_CutType(), help="One cut, as printed."
)
@click.option("--no-rollback", is_flag=True, help="The bootloader is built without rollback.")
def powercut(
    flash: Path,
    firmware: Path,
    exhaustive: bool,
    as_json: bool,
    keep: Path | None,
    sample: int | None,
    seed: int | None,
    only: Cut | None,
    no_rollback: bool,
) -> int:
    """Update a copy of the board in memory, and cut the power at every flash operation.

    After each cut the board has to boot the old or the new firmware, whole, and an update tried
    again has to succeed. FLASH stays as it is. Exit code 1 if any cut fails.

    \b
    Example:
      ota-service board powercut flash.bin --firmware thermo-2.0.0.bin
    """
    if sample is not None and keep is None:
        raise click.UsageError("--sample: expected --keep DIR beside it")
    image = read_bytes(firmware, "firmware")
    seed = secrets.randbits(32) if seed is None else seed
    with opened(flash, copy=True) as board:
        proof = _proof(board, image, firmware, flash, seed, not no_rollback)
    totals = _Totals(keep, sample or 10, board.efuse)
    if not as_json:
        output.say(f"{proof.operations} flash operations, seed {seed}")
    if only is not None:
        _take_one(proof, only, totals)
    else:
        totals.spread(_cuts(proof, exhaustive))
        _take_all(proof, _cuts(proof, exhaustive), totals)
    if as_json:
        output.print_json(totals.fields(proof.operations))
    else:
        _print_totals(totals)
    return EXIT_REFUSED if totals.failures else 0


def _proof(
    board: VirtualBoard, image: bytes, firmware: Path, path: Path, seed: int, rollback: bool
) -> Proof:
    """Raises CommandError where there is nothing to prove."""
    fields = images.describe(image, str(firmware))
    if not fields["signatures"]:
        raise CommandError(f"{firmware}: unsigned: a board takes signed firmware only (image sign)")
    try:
        content = bytes(board.flash.read(0, board.flash.size))
        return Proof(content, board.efuse, image, rollback=rollback, seed=seed)
    except ProofError as error:
        raise CommandError(f"{firmware}: the update fails with the power on: {error}") from None
    except ImageError as error:
        raise CommandError(f"{firmware}: {error.code}: {error}") from None
    except VirtualBoardError as error:
        raise CommandError(f"{path}: {error}") from None


def _cuts(proof: Proof, exhaustive: bool) -> Iterator[Cut]:
    if exhaustive:
        return proof.cuts(EXHAUSTIVE)
    small = proof.operations <= _SMALL_LIFE
    return proof.cuts(THOROUGH if small else SAMPLED)


class _Totals:
    """What has been found so far, and the flash files kept."""

    def __init__(self, keep: Path | None, sample: int, efuse: EFuse) -> None:
        self.kinds: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.failures: list[tuple[Cut, Verdict]] = []
        self.kept: list[str] = []
        self.planned = 1
        self._keep = keep
        self._sample = sample
        self._efuse = efuse
        if keep is not None:
            _make_folder(keep)

    @property
    def cuts(self) -> int:
        return self.kinds.total()

    def spread(self, cuts: Iterator[Cut]) -> None:
        """Say how many cuts are to come: the flash files kept are spread over them."""
        self.planned = sum(1 for _ in cuts)

    def add(self, cut: Cut, verdict: Verdict) -> None:
        taken = self.cuts
        self.kinds[cut.name] += 1
        if verdict.known is not None:
            self.known[verdict.known] += 1
        if verdict.problems:
            self.failures.append((cut, verdict))
        if self._keep is not None and taken * self._sample // self.planned >= len(self.kept):
            self._keep_flash(cut, verdict)

    def fields(self, operations: int) -> dict[str, Any]:
        return {
            "cuts": self.cuts,
            "failures": len(self.failures),
            "known_outcomes": dict(sorted(self.known.items())),
            "operations": operations,
            "by_kind": dict(sorted(self.kinds.items())),
            "kept": self.kept,
        }

    def _keep_flash(self, cut: Cut, verdict: Verdict) -> None:
        if self._keep is None or len(self.kept) >= self._sample:
            return
        name = str(cut).replace(":", "-").replace("+", "-then-")
        path = self._keep / f"cut-{name}.bin"
        flash = NorFlash.from_snapshot(verdict.state)
        fuses = self._efuse.to_json().encode() + b"\n"
        write_bytes(Path(sidecar_path(path)), fuses, "eFuse file")
        write_bytes(path, bytes(flash.read(0, flash.size)), "flash file")
        self.kept.append(str(path))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"folder {path}: {(error.strerror or str(error)).lower()}") from None


def _take_one(proof: Proof, cut: Cut, totals: _Totals) -> None:
    try:
        verdict = proof.judge(cut)
    except ValueError as error:
        raise CommandError(f"--only {cut}: {error}", EXIT_USAGE) from None
    if verdict is None:
        raise CommandError(f"--only {cut}: there is no such second operation", EXIT_USAGE)
    totals.add(cut, verdict)
    _show_failure(proof, cut, verdict)


def _take_all(proof: Proof, cuts: Iterator[Cut], totals: _Totals) -> None:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} cuts/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("cuts", total=totals.planned, rate=0)
        began = time.monotonic()
        for number, cut in enumerate(cuts):
            verdict = proof.judge(cut)
            if number % 50 == 0:
                rate = number / max(0.001, time.monotonic() - began)
                bar.update(task, completed=number, rate=rate)
                verbose.tell(f"{number} of {totals.planned} cuts, {rate:,.0f} a second")
            if verdict is None:
                continue  # the run after the first cut is shorter than that
            totals.add(cut, verdict)
            if verdict.problems and len(totals.failures) <= _FAILURES_SHOWN:
                _show_failure(proof, cut, verdict)
    hidden = len(totals.failures) - _FAILURES_SHOWN
    if hidden > 0:
        click.echo(f"and {hidden} more failures", err=True)


def _show_failure(proof: Proof, cut: Cut, verdict: Verdict) -> None:
    """How it failed, and how to replay it; on standard error, so that JSON stays JSON."""
    if verdict.problems:
        phase = proof.phase_of(cut.operation).name
        text = "; ".join(verdict.problems)
        line = f"FAILED in {phase}, seed {cut.seed}, operation {cut.operation}, {cut.kind}: {text}"
        click.echo(output.printable(f"{line} (again: --seed {proof.seed} --only {cut})"), err=True)


def _print_totals(totals: _Totals) -> None:
    table = Table("cuts", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for kind, text in _KINDS.items():
        if totals.kinds[kind]:
            table.add_row(text, f"{totals.kinds[kind]:,}")
    table.add_row("all", f"{totals.cuts:,}")
    table.add_row("failures", f"{len(totals.failures):,}")
    for name, count in sorted(totals.known.items()):
        table.add_row(f"known outcome: {name}", f"{count:,}")
    output.console.print(table)
    for path in totals.kept:
        output.say(f"kept {path}")
