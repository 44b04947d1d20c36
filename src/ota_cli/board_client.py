"""A board's HTTP endpoints, as commands use them: every failure is one line."""

from typing import Any

import httpx

from ota_cli.errors import EXIT_USAGE, CommandError


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
        """GET /update, with at least the fields that are used here."""
        status = self._json("/update")
        if not {"state", "received", "total", "running", "error", "confirmed"} <= status.keys():
            raise CommandError(f"{self.url}/update: not the status of an OTA board")
        return status

    def info(self) -> dict[str, Any]:
        """GET /info."""
        return self._json("/info")

    def _json(self, path: str) -> dict[str, Any]:
        try:
            value = self._checked("GET", path=path).json()
        except ValueError:
            value = None
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
        if response.status_code == 405 and method == "GET":
            raise CommandError(
                f"{self.url}: the board does not report its updates (a C original?); use --no-wait"
            )
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
