"""`ota-service update`: tell a board to update, and follow it until it is back and confirmed."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ota_cli import output, verbose
from ota_cli.board_client import Board, Unreachable, UpdateRequest, update_request
from ota_cli.board_status import Info, Status
from ota_cli.errors import CommandError
from ota_cli.trigger_key import read_trigger_key

_POLL_S = 0.1
# A board that resets in the middle of a request never answers it: asked again it does.
_POLL_DEADLINE_S = 1.5
_DEADLINE_S = 15 * 60.0
_SILENCE_S = 60.0
_UNSEEN_S = 5.0
_TELL_S = 1.0


@click.command()
@click.argument("url")
@click.option("--agent", metavar="HOST[:PORT]", help="The agent, as the board reaches it.")
@click.option(
    "--trigger-key",
    type=click.Path(path_type=Path),
    help="The board's trigger key: a file of 64 hex digits, or 32 bytes "
    "(openssl rand -hex 32 > trigger.key).",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its end.")
@click.option("--cancel", is_flag=True, help="Cancel the running update instead.")
def update(url: str, agent: str | None, trigger_key: Path | None, wait: bool, cancel: bool) -> None:
    """Update the board at URL from an OTA agent.

    Exit code 0: the board came back with the new firmware and confirmed it, or the agent has
    nothing newer for it. 1: it keeps the firmware it had; the reason is printed.

    \b
    Example:
      ota-service update http://127.0.0.1:8032 --agent 127.0.0.1
      ota-service update 192.0.2.17 --agent agent.example:4433 \\
        --trigger-key trigger.key
    """
    if cancel == (agent is not None):
        raise click.UsageError("expected either --agent or --cancel")
    request = update_request(agent) if agent is not None else None
    board = Board(url, read_trigger_key(trigger_key) if trigger_key is not None else None)
    if request is None:
        output.say(f"{url}: {board.cancel()}")
    elif wait:
        _update(board, request)
    else:
        output.say(board.start(request))


def _update(board: Board, request: UpdateRequest) -> None:
    """Start an update and follow it to its end. Raises CommandError."""
    before = board.status()
    running = _version(board.info(), before)
    answer = board.start(request)
    output.say(f"{board.url} runs {running}")
    if "(Insecure)" in answer:
        output.say(f"{board.url} takes a raw image from whoever connects: it is in insecure mode")
    after = Follower(board, before).follow()
    now = _version(board.info(), after)
    outcome = "the agent has nothing newer" if _is_up_to_date(after) else "confirmed"
    output.say(f"{board.url} runs {now}, {outcome}")


def _version(info: Info, status: Status) -> str:
    name = f"{info.application} {info.version}".strip() or "firmware without a name"
    return f"{name} in {status.running}"


@dataclass
class _Seen:
    """What a follower has learnt so far. began, heard: when it began, and heard the board last.

    busy: whether the board was seen to do anything about the update, or to go away for it.
    """

    began: float
    heard: float
    busy: bool = False


class Follower:
    """Polls GET /update until the board has settled. before: its status before the request."""

    def __init__(self, board: Board, before: Status) -> None:
        self._board = board
        self._before = before
        self._transfer_began = time.monotonic()
        self._total: int | None = None
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0
        self._progress = Progress(
            TextColumn("          {task.description:<10}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            console=output.console,
            disable=not output.console.is_terminal,
            redirect_stderr=sys.stderr.isatty(),
        )

    def follow(self) -> Status:
        """The last status, of a board that runs confirmed new firmware. Raises CommandError."""
        with self._progress:
            task = self._progress.add_task("connecting", total=None, detail="")
            now = time.monotonic()
            end = now + _DEADLINE_S
            seen = _Seen(began=now, heard=now)
            while time.monotonic() < end:
                status = self._poll(seen)
                if status is not None:
                    if not status.received:
                        self._transfer_began = time.monotonic()
                    self._show(task, status)
                    if self._settled(status, seen):
                        return status
                time.sleep(_POLL_S)
        raise CommandError(f"{self._board.url}: no end after {_DEADLINE_S / 60:.0f} minutes")

    def _poll(self, seen: _Seen) -> Status | None:
        try:
            status = self._board.status(_POLL_DEADLINE_S, is_poll=True)
        except Unreachable as error:
            seen.busy = True
            if time.monotonic() - seen.heard > _SILENCE_S:
                raise CommandError(f"{error} (since {_SILENCE_S:.0f} s)") from None
            return None
        seen.heard = time.monotonic()
        self._tell(status)
        return status

    def _tell(self, status: Status) -> None:
        """What is new, and once a second how far it is."""
        news = (status.state, status.running, status.confirmed, status.error)
        if news == self._told and time.monotonic() - self._told_at < _TELL_S:
            return
        self._told, self._told_at = news, time.monotonic()
        verbose.tell(
            f"{self._board.url}: {status.state}, {status.received} of {status.total or '?'} bytes,"
            f" runs {status.running}, {'' if status.confirmed else 'not '}confirmed"
            + (f", {status.error.code}" if status.error else "")
        )

    def _settled(self, status: Status, seen: _Seen) -> bool:
        """Whether the board is back and confirmed. Raises CommandError if it will not be."""
        before = self._before
        unseen = not seen.busy and (status.state, status.error) == (before.state, before.error)
        if status.state == "failed" and not unseen:
            raise self._failed(status)
        if status.state not in ("idle", "failed"):
            seen.busy = True
            return False
        is_long_ago = time.monotonic() - seen.began > _UNSEEN_S
        if _is_up_to_date(status) and (is_long_ago or not unseen):
            return True
        if status.error and not unseen:
            raise self._failed(status)
        if status.running != before.running:
            seen.busy = True
            return status.confirmed
        if not unseen:
            raise CommandError(
                f"{self._board.url}: restarted, or gave up, with the firmware it had; "
                f"still runs {status.running}"
            )
        if is_long_ago:
            raise self._unseen(status)
        return False

    def _unseen(self, status: Status) -> CommandError:
        if status.error:
            return self._failed(status)
        return CommandError(
            f"{self._board.url}: took the request, but no update showed in {_UNSEEN_S:.0f} s; "
            f"still runs {status.running}"
        )

    def _failed(self, status: Status) -> CommandError:
        reason = status.error or "failed, and does not say why"
        return CommandError(f"{self._board.url}: {reason}; still runs {status.running}")

    def _show(self, task: TaskID, status: Status) -> None:
        if status.running != self._before.running:
            description = "confirmed" if status.confirmed else "self-test"
            known = self._total or 1
            self._progress.update(
                task,
                description=description,
                total=known,
                completed=known,
                detail=decimal(self._total) if self._total else "",
            )
        elif status.state != "idle":
            self._total = status.total
            self._progress.update(
                task,
                description=status.state,
                total=status.total,
                completed=status.received,
                detail=self._detail(status.received, status.total) or _last_failure(status),
            )

    def _detail(self, received: int, total: int | None) -> str:
        """Bytes, rate and time left, as far as they are known."""
        if not received:
            return ""
        seconds = max(time.monotonic() - self._transfer_began, 0.001)
        rate = received / seconds
        text = f"{decimal(received)} of {decimal(total) if total else '?'}"
        if total is None or received < total:
            text += f", {decimal(int(rate))}/s"
        if total is not None and received < total:
            text += f", {(total - received) / rate:.0f} s left"
        return text


def _is_up_to_date(status: Status) -> bool:
    """Whether the last update ended because there was nothing to install (protocol 2's 204)."""
    return status.state == "idle" and status.error is not None and status.error.code == "up-to-date"


def _last_failure(status: Status) -> str:
    """Why the board tries again, as long as it does."""
    return f"attempt {status.attempt}, last time {status.error.code}" if status.error else ""
