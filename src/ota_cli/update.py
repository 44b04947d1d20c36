"""`ota-service update`: tell a board to update, and follow it until it is back and confirmed."""

import time
from dataclasses import dataclass
from typing import Any

import click
import httpx
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ota_cli import output
from ota_cli.errors import EXIT_USAGE, CommandError

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
    before = board.status()
    running = _version(board.info(), before)
    answer = board.start(agent)
    if not wait:
        output.console.print(answer.strip())
        return
    output.console.print(f"{url}: runs {running}, asked to update from {agent}", soft_wrap=True)
    after = Follower(board, before).follow()
    output.console.print(
        f"{url}: runs {_version(board.info(), after)}, confirmed (was {running})", soft_wrap=True
    )


class Board:
    """A board's HTTP endpoints. Raises CommandError."""

    def __init__(self, url: str) -> None:
        if "://" not in url:
            url = "http://" + url
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise CommandError(f"URL {url!r}: {error}", EXIT_USAGE) from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise CommandError(f"URL {url!r}: expected http://BOARD[:PORT]", EXIT_USAGE)
        self._client = httpx.Client(base_url=url, timeout=5, trust_env=False)
        self.url = url

    def start(self, agent: str) -> str:
        """POST /update; the board's answer."""
        return self._checked("POST", f"ip: {agent}").text

    def status(self) -> dict[str, Any]:
        """GET /update."""
        return self._json("/update")

    def info(self) -> dict[str, Any]:
        """GET /info."""
        return self._json("/info")

    def _json(self, path: str) -> dict[str, Any]:
        value = self._checked("GET", path=path).json()
        if not isinstance(value, dict):
            raise CommandError(f"{self.url}{path}: expected a JSON object")
        return value

    def _checked(
        self, method: str, body: str | None = None, path: str = "/update"
    ) -> httpx.Response:
        try:
            response = self._client.request(
                method, path, content=body, headers=_TEXT if body else None
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.url}: {_reason(error)}") from None
        if response.status_code != 200:
            said = " ".join(response.text.split())[:200]
            code = EXIT_USAGE if response.status_code == 400 else 1
            raise CommandError(f"{self.url}{path}: {response.status_code}: {said}", code)
        return response


_TEXT = {"Content-Type": "text/plain"}


class Unreachable(CommandError):
    """The board does not answer; while it reboots that is as it should be."""


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "no board answers there"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


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
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=output.console,
        )

    def follow(self) -> dict[str, Any]:
        """The last status, of a board that runs confirmed new firmware. Raises CommandError."""
        with self._progress:
            task = self._progress.add_task("connecting", total=None)
            end = time.monotonic() + _DEADLINE_S
            seen = _Seen(time.monotonic())
            while time.monotonic() < end:
                status = self._poll(seen)
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

    def _show(self, task: Any, status: dict[str, Any]) -> None:
        back = status["running"] != self._before["running"]
        total = status["total"]
        if back:
            description = "confirmed" if status["confirmed"] else "self-test"
            known = self._progress.tasks[0].total or 1
            self._progress.update(task, description=description, total=known, completed=known)
            return
        if status["state"] == "idle":
            return
        self._progress.update(
            task, description=status["state"], total=total, completed=status["received"]
        )
