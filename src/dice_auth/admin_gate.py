"""What stands before the admin API: is the way safe, whose token is it, how often, how large.

It comes before all parsing of paths and bodies, so that nobody without a token reaches more than
this file. Every request that would change something is one line in the log, whatever came of it.
State of the rate limits is this process's alone.
"""

import ipaddress
import logging
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dice_auth.admin_tokens import AdminToken, AdminTokens, find_token
from dice_auth.asgi import (
    CLOSE,
    BodyTooLargeError,
    ClientGoneError,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    peer_of,
    read_body,
    send_answer,
)
from dice_auth.metrics import Metrics
from dice_auth.problem import CONTENT_TYPE as PROBLEM_TYPE
from dice_auth.problem import problem
from dice_auth.rate_limit import RateLimit
from dice_auth.structured_log import log_event

PREFIX = "/api/v1"
DOCUMENT_PATH = PREFIX + "/openapi.json"
BATCHES_PATH = PREFIX + "/batches"
MAX_BODY_BYTES = 16 * 1024
MAX_BATCH_BYTES = 768 * 1024
# What part of the rate may be writes with a token; what part an address may ask that shows no token
# which counts (with one, it is not asked how often it failed). How much may come at once.
_WRITES_SHARE = 0.5
_FAILURES_SHARE = 0.02
_BURST_S = 2
_FAILURES_BURST_S = 10

_READING = ("GET", "HEAD")
_JSON = (b"application/json",)
_PATCH = (*_JSON, b"application/merge-patch+json")
_KEY = "dice_auth.admin"
_NO_STORE = ((b"Cache-Control", b"no-store"),)

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class Entry:
    """What the log says of a request: filled in by whoever knows. token: its name, never itself.
    board: its id, or those of a batch. result: what came of it, or the check that failed.
    is_change: whether the registry changed."""

    token: str
    action: str | None = None
    board: str | list[str] | None = None
    result: str | None = None
    is_change: bool = False
    status: int | None = None


def entry_of(scope: Scope) -> Entry:
    """That of a request which the gate has let in."""
    entry: Entry = scope[_KEY]
    return entry


class AdminGate:
    """application: the API itself. document: its OpenAPI document, JSON, which anybody may read.
    tokens: those that count now. closed: why nobody is let in, empty if those with a token are.
    rate: requests a second for each token."""

    def __init__(
        self,
        application: Asgi,
        document: bytes,
        tokens: Callable[[], AdminTokens],
        metrics: Metrics,
        *,
        rate: float,
        closed: str = "",
    ) -> None:
        self._application = application
        self._document = document
        self._tokens = tokens
        self._metrics = metrics
        self._closed = closed
        writes, failures = rate * _WRITES_SHARE, rate * _FAILURES_SHARE
        self._requests = RateLimit(rate, rate * _BURST_S)
        self._writes = RateLimit(writes, writes * _BURST_S)
        self._failures = RateLimit(failures, failures * _FAILURES_BURST_S)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request for a path under PREFIX. Raises ClientGoneError."""
        is_reading = scope["method"] in _READING
        if self._closed:
            await self._refuse(scope, send, 403, "transport", self._closed)
        elif scope["path"] == DOCUMENT_PATH and is_reading:
            await self._answer(send, 200, b"application/json", self._document)
        elif (token := await self._authenticate(scope, send)) is None:
            return
        elif wait_s := self._requests.take(token.name):
            await self._refuse_rate(scope, send, wait_s, token)
        elif is_reading:
            self._metrics.count_admin_read()
            await self._pass_on(scope, receive, send, Entry(token.name))
        elif not token.may_write:
            detail = f"the token {token.name} has the scope read"
            challenge = _challenge(b', error="insufficient_scope", scope="write"')
            await self._refuse(scope, send, 403, "scope", detail, challenge, token)
        elif wait_s := self._writes.take(token.name):
            await self._refuse_rate(scope, send, wait_s, token)
        else:
            await self._write(scope, receive, send, Entry(token.name))

    async def _authenticate(self, scope: Scope, send: Send) -> AdminToken | None:
        """Whose token it is; None, and answered, if it is nobody's."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if kind.lower() == b"bearer":
            token = find_token(text.strip(), self._tokens())
            if token is not None:
                return token
        if wait_s := self._failures.take(_network_of(scope)):
            detail = "too many requests without a token that counts"
            await self._refuse(
                scope, send, 429, "rate", detail, _retry_after(wait_s), is_quiet=True
            )
        elif not given:
            await self._refuse(scope, send, 401, "token", "expected a bearer token", _challenge())
        else:
            challenge = _challenge(b', error="invalid_token"')
            detail = "expected one bearer token that stands in --admin-tokens"
            await self._refuse(scope, send, 401, "token", detail, challenge)
        return None

    async def _write(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        try:
            await self._pass_on(scope, receive, send, entry)
        finally:
            if entry.is_change and entry.action is not None:
                self._metrics.count_admin_write(entry.action)
            log_event(
                "admin-write",
                token=entry.token,
                peer=peer_of(scope),
                request=f"{scope['method']} {_raw_path(scope)}",
                action=entry.action,
                board=entry.board,
                result=entry.result,
                status=entry.status,
            )

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        is_started = False

        async def counting_send(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                entry.status = message["status"]
                self._metrics.count_answer(message["status"])
                message = {**message, "headers": [*message["headers"], *_NO_STORE]}
            await send(message)

        async def refuse(status: int, check: str, detail: str, extra: Headers = ()) -> None:
            entry.result = check
            body = problem(status, detail, check)
            await send_answer(counting_send, status, PROBLEM_TYPE, body, extra)

        path = _raw_path(scope)
        if not _is_text(path):
            await refuse(400, "malformed", "expected a path of percent-encoded UTF-8")
            return
        body = b""
        if scope["method"] not in _READING:
            limit = MAX_BATCH_BYTES if path == BATCHES_PATH else MAX_BODY_BYTES
            try:
                body = await read_body(receive, limit)
            except BodyTooLargeError:
                await refuse(413, "too-large", f"expected a body of at most {limit} bytes", CLOSE)
                return
            if body and not _is_json(scope):
                await refuse(415, "media-type", "expected application/json, without a coding")
                return
        try:
            await self._application(
                _inner_scope(scope, path, entry), _replay(body, receive), counting_send
            )
        except ClientGoneError:
            raise
        except Exception as error:
            # A bug of ours: named in the log. The API may have answered before it raised.
            reason = f"{type(error).__name__}: {error}"
            log_event("internal-error", level=logging.ERROR, peer=peer_of(scope), reason=reason)
            if not is_started:
                await refuse(500, "internal", "internal error", CLOSE)

    async def _refuse_rate(self, scope: Scope, send: Send, wait_s: int, token: AdminToken) -> None:
        detail = f"too many requests with the token {token.name}"
        await self._refuse(scope, send, 429, "rate", detail, _retry_after(wait_s), is_quiet=True)

    async def _refuse(
        self,
        scope: Scope,
        send: Send,
        status: int,
        check: str,
        detail: str,
        extra: Headers = (),
        token: AdminToken | None = None,
        *,
        is_quiet: bool = False,
    ) -> None:
        """is_quiet: counted, and not logged: what comes so often would fill the log."""
        self._metrics.count_admin_refusal(check)
        if not is_quiet:
            log_event(
                "admin-refused",
                token=token.name if token else None,
                peer=peer_of(scope),
                request=f"{scope['method']} {_raw_path(scope)}",
                failed=check,
            )
        await self._answer(send, status, PROBLEM_TYPE, problem(status, detail, check), extra)

    async def _answer(
        self, send: Send, status: int, content_type: bytes, body: bytes, extra: Headers = ()
    ) -> None:
        self._metrics.count_answer(status)
        await send_answer(send, status, content_type, body, extra)


def _inner_scope(scope: Scope, path: str, entry: Entry) -> Scope:
    """As the API sees it. Its path is the one that was sent: in a decoded one, a slash of a
    board's id could not be told from one between two parts of the path."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]  # uvicorn leaves the body out
    return {**scope, "path": path, "method": method, "root_path": "", _KEY: entry}


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii", "replace")


def _is_text(path: str) -> bool:
    try:
        urllib.parse.unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
    return path.isascii()


def _is_json(scope: Scope) -> bool:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    allowed = _PATCH if scope["method"] == "PATCH" else _JSON
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type in allowed and b"content-encoding" not in headers


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that has been read, then whatever follows."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def receive_again() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        sent, message = message, None
        return sent

    return receive_again


def _network_of(scope: Scope) -> str:
    """The address; of IPv6 the network of 64 bits, which is one client's."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _challenge(error: bytes = b"") -> Headers:
    return ((b"WWW-Authenticate", b'Bearer realm="dice-auth admin"' + error),)


def _retry_after(seconds: int) -> Headers:
    return ((b"Retry-After", b"%d" % seconds),)
