"""`ota-service update`: tell a board to update, and follow it until it is back and confirmed."""

import time
from dataclasses import dataclass
from typing import Any

import click
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ota_cli import output
from ota_cli.board_client import Board, Unreachable
from ota_cli.errors import CommandError

_POLL_S = 0.1
_DEADLINE_S = 15 * 60.0
_SILENCE_S = 60.0


@click.command()
@click.argument("url")
@click.option(
    "--agent", required=True, metavar="IP[:PORT]", help="The agent, as the board reaches it."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its end.")
def update(url: str, agent: str, wait: bool) -> None:
    """Update the board at URL from an OTA agent.

    Exit code 0: the board came back with the new firmware and confirmed it. 1: it keeps the
    firmware it had; the reason is printed.
    """
    board = Board(url)
    if not wait:
        output.console.print(board.start(agent).strip(), markup=False)
        return
    before = board.status()
    running = _version(board.info(), before)
    board.start(agent)
    output.console.print(f"{url} runs {running}", markup=False, soft_wrap=True)
    after = Follower(board, before).follow()
    now = _version(board.info(), after)
    output.console.print(f"{url} runs {now}, confirmed", markup=False, soft_wrap=True)


def _version(info: dict[str, Any], status: dict[str, Any]) -> str:
    name = (
        f"{info.get('application', '')} {info.get('version', '')}".strip()
        or "firmware without a name"
    )
    return f"{name} in {status['running']}"


@dataclass
class _Seen:
    """What a follower has learnt so far."""

    heard: float
    left: bool = False


class Follower:
    """Polls GET /update until the board has settled."""

    def __init__(self, board: Board, before: dict[str, Any]) -> None:
        self._board = board
        self._before = before
        self._transfer_began = time.monotonic()
        self._total: int | None = None
        self._progress = Progress(
            TextColumn("          {task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            console=output.console,
        )

    def follow(self) -> dict[str, Any]:
        """The last status, of a board that runs confirmed new firmware. Raises CommandError."""
        with self._progress:
            task = self._progress.add_task("connecting", total=None, detail="")
            end = time.monotonic() + _DEADLINE_S
            seen = _Seen(time.monotonic())
            while time.monotonic() < end:
                status = self._poll(seen)
                if status is not None and not status["received"]:
                    self._transfer_began = time.monotonic()
                if status is not None:
                    self._show(task, status)
                    if self._settled(status, seen):
                        return status
                time.sleep(_POLL_S)
        raise CommandError(f"{self._board.url}: no end after {_DEADLINE_S / 60:.0f} minutes")

    def _poll(self, seen: _Seen) -> dict[str, Any] | None:
        try:
            status = self._board.status()
        except Unreachable as error:
            seen.left = True
            if time.monotonic() - seen.heard > _SILENCE_S:
                raise CommandError(f"{error} (since {_SILENCE_S:.0f} s)") from None
            return None
        seen.heard = time.monotonic()
        return status

    def _settled(self, status: dict[str, Any], seen: _Seen) -> bool:
        """Whether the board is back and confirmed. Raises CommandError if it will not be."""
        if status["state"] == "rebooting":
            seen.left = True
        error = status["error"]
        if status["state"] == "failed" or (seen.left and status["state"] == "idle" and error):
            raise CommandError(
                f"{self._board.url}: {error['code']}: {error['message']}; "
                f"still runs {status['running']}"
            )
        if status["state"] != "idle" or status["running"] == self._before["running"]:
            if status["state"] == "idle" and seen.left:
                raise CommandError(f"{self._board.url}: restarted with the firmware it had")
            return False
        seen.left = True
        return bool(status["confirmed"])

    def _show(self, task: TaskID, status: dict[str, Any]) -> None:
        if status["running"] != self._before["running"]:
            description = "confirmed" if status["confirmed"] else "self-test"
            known = self._total or 1
            self._progress.update(task, description=description, total=known, completed=known)
        elif status["state"] != "idle":
            total, received = status["total"], status["received"]
            self._total = total
            self._progress.update(
                task,
                description=status["state"],
                total=total,
                completed=received,
                detail=self._detail(received, total) or _last_failure(status),
            )

    def _detail(self, received: int, total: int | None) -> str:
        """Bytes, rate and time left, as far as they are known."""
        if not received:
            return ""
        seconds = max(time.monotonic() - self._transfer_began, 0.001)
        rate = received / seconds
        text = f"{decimal(received)} of {decimal(total) if total else '?'}"
        if total is not None and 0 < received < total:
            text += f", {decimal(int(rate))}/s, {(total - received) / rate:.0f} s left"
        return text


def _last_failure(status: dict[str, Any]) -> str:
    """Why the board tries again, as long as it does."""
    error = status["error"]
    return f"attempt {status['attempt']}, last time {error['code']}" if error else ""
