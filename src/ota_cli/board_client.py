"""A board's HTTP endpoints, as commands use them: every failure is one line.

Whoever answers there need not be a board, or a friendly one: each request has a deadline as a
whole, each answer a largest size, and every field a type (`board_status`).
"""

import asyncio
import json
import re
import ssl
from functools import cached_property
from typing import Any, NamedTuple

import httpx

from ota_cli import verbose
from ota_cli.addresses import is_host
from ota_cli.board_status import Info, Status, WrongField, parse_info, parse_status
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.output import printable
from ota_cli.trigger_key import proof
from ota_service.errors import BadRequest
from ota_service.request import is_ipv4, parse_address

_DEADLINE_S = 5.0
_MOST_BYTES = 64 * 1024
_ACCEPTED = "Received update request: About to update"


class UpdateRequest(NamedTuple):
    """The body of POST /update and its type."""

    body: bytes
    content_type: str


class _Answer(NamedTuple):
    """retry_after: the header of this name as it is."""

    code: int
    body: bytes
    retry_after: str


def update_request(agent: str) -> UpdateRequest:
    """The request that names an agent, `HOST` or `HOST:PORT`, by the board's own rules.

    An IPv4 address goes as the originals' text, which takes nothing else; a DNS name as JSON.
    Raises CommandError.
    """
    try:
        host, _ = parse_address(agent)
    except BadRequest as error:
        raise CommandError(
            f"--agent: {error} (HOST or HOST:PORT, as agent.example:4433)", EXIT_USAGE
        ) from None
    if is_ipv4(host):
        return UpdateRequest(f"ip: {agent}".encode(), "text/plain")
    return UpdateRequest(json.dumps({"agent": agent}).encode(), "application/json")


class Board:
    """A board's HTTP endpoints. Raises CommandError.

    trigger_key: 32 bytes, proved with every request that starts or cancels an update.
    """

    def __init__(self, url: str, trigger_key: bytes | None = None) -> None:
        self.url = url
        self._base = _base_url(url)
        self._trigger_key = trigger_key

    def start(self, request: UpdateRequest) -> str:
        """POST /update; the board's answer."""
        headers = {"Content-Type": request.content_type, **self._proof("POST", request.body)}
        answer = self._checked("POST", "/update", request.body, headers).decode(errors="replace")
        if not answer.startswith(_ACCEPTED):
            raise CommandError(
                f"{self.url}/update: expected `{_ACCEPTED}`, found `{_shown(answer)}`"
            )
        return printable(answer.strip())

    def cancel(self) -> str:
        """DELETE /update; the board's answer."""
        answer = self._checked("DELETE", "/update", headers=self._proof("DELETE", b""))
        return _shown(answer.decode(errors="replace"))

    def status(self, deadline_s: float = _DEADLINE_S, *, is_poll: bool = False) -> Status:
        """GET /update. deadline_s: for all of it. is_poll: one of many, which --verbose does not
        tell of."""
        try:
            return parse_status(self._json("/update", deadline_s, is_poll))
        except WrongField as error:
            raise CommandError(
                f"{self.url}/update: not the status of an OTA board: {error}"
            ) from None

    def info(self) -> Info:
        """GET /info."""
        try:
            return parse_info(self._json("/info"))
        except WrongField as error:
            raise CommandError(f"{self.url}/info: {error}") from None

    def _proof(self, method: str, body: bytes) -> dict[str, str]:
        if self._trigger_key is None:
            return {}
        nonce = self.status().nonce
        if nonce is None:
            raise CommandError(
                f"{self.url}: this board has no trigger key; leave out --trigger-key"
            )
        return proof(self._trigger_key, nonce, method, body)

    def _json(
        self, path: str, deadline_s: float = _DEADLINE_S, is_poll: bool = False
    ) -> dict[str, Any]:
        try:
            value = json.loads(self._checked("GET", path, deadline_s=deadline_s, is_poll=is_poll))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise CommandError(f"{self.url}{path}: expected a JSON object")
        return value

    def _checked(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        deadline_s: float = _DEADLINE_S,
        is_poll: bool = False,
    ) -> bytes:
        """The body of a 200 answer."""
        took = verbose.Took()
        asked = f"{method} {self._base.copy_with(userinfo=b'')}{path}"
        try:
            answer = asyncio.run(self._exchange(method, path, body, headers or {}, deadline_s))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            verbose.tell(f"{asked}: {_reason(error)}, after {took}")
            raise Unreachable(f"{self.url}: {_reason(error)}") from None
        if not is_poll:
            verbose.tell(f"{asked}: {answer.code}, {len(answer.body)} bytes in {took}")
        if answer.code == 200:
            return answer.body
        if answer.code == 405 and method == "GET":
            raise CommandError(
                f"{self.url}: the board does not report its updates (a C original?); use --no-wait"
            )
        reason = None if method == "GET" else self._refusal(answer, method)
        if reason is not None:
            raise CommandError(f"{self.url}: {reason}")
        said = _shown(answer.body.decode(errors="replace"))
        exit_code = EXIT_USAGE if answer.code == 400 else 1
        raise CommandError(f"{self.url}{path}: {answer.code}: {said}", exit_code)

    def _refusal(self, answer: _Answer, method: str) -> str | None:
        """Why the board does not start or cancel an update, where its status tells."""
        said = _shown(answer.body.decode(errors="replace"))
        if answer.code == 401 and self._trigger_key is None:
            return "the board asks for its trigger key: give --trigger-key"
        if answer.code == 401:
            return "the trigger key is not this board's, or another request came first"
        if answer.code == 403:
            return f"the board refuses this agent: {said}"
        if answer.code == 404 and method == "DELETE":
            return "no update is running"
        if answer.code == 409:
            return "the board is at an update already; --cancel ends it"
        if answer.code == 429:
            return f"failed updates made the board pause: {_try_again(answer.retry_after)}"
        return None

    async def _exchange(
        self, method: str, path: str, body: bytes, headers: dict[str, str], deadline_s: float
    ) -> _Answer:
        """The deadline is for all of it, however slowly the bytes come."""
        async with (
            asyncio.timeout(deadline_s),
            httpx.AsyncClient(
                base_url=self._base, timeout=deadline_s, trust_env=False, verify=self._tls
            ) as client,
            client.stream(
                method, path, content=body, headers={"Accept-Encoding": "identity", **headers}
            ) as response,
        ):
            said = b""
            async for piece in response.aiter_raw():
                said += piece
                if len(said) > _MOST_BYTES:
                    raise CommandError(f"{self.url}{path}: an answer of over {_MOST_BYTES} bytes")
            return _Answer(response.status_code, said, response.headers.get("Retry-After", ""))

    @cached_property
    def _tls(self) -> ssl.SSLContext | bool:
        """Made once: a client is made for each request."""
        return httpx.create_ssl_context() if self._base.scheme == "https" else False


class Unreachable(CommandError):
    """The board does not answer; while it reboots that is as it should be."""


def _base_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url if "://" in url else "http://" + url)
        port_fits = parsed.port is None or 0 < parsed.port < 65536
        valid = parsed.scheme in ("http", "https") and is_host(parsed.host) and port_fits
    except (httpx.InvalidURL, UnicodeError):
        valid = False
    if not valid:
        raise CommandError(f"URL {printable(url)!r}: expected http://BOARD[:PORT]", EXIT_USAGE)
    return parsed


def _shown(text: str) -> str:
    """A stranger's text as one line that is not too long."""
    return printable(" ".join(text[:400].split())[:200])


def _try_again(retry_after: str) -> str:
    """RFC 9110, 10.2.3; a date there is not what boards send."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return f"try again in {int(retry_after)} s"
    return "try again later"


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError):
        return "no board answers there (is it on, and is this its address? see doctor --board)"
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return "no answer in time"
    return _shown(str(error)) or type(error).__name__
