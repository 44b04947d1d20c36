"""The HTTP resources of the attestation server, as a bare ASGI application.

The compatible endpoint answers on every path but those named here: protocol.md, section D. A
fault of the registry is 503, never a verdict. Sockets and HTTP framing are the server's
(`server`).
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from dice_auth.errors import RegistryError
from dice_auth.metrics import CONTENT_TYPE, Metrics
from dice_auth.registry import Registry
from dice_auth.structured_log import log_event
from dice_auth.verdict_queue import VerdictQueue
from dice_auth.verification import Verdict

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 16 * 1024
# More than the limit is read before it is refused: an answer to a client that is still sending
# would be lost with the reset of the connection.
_MAX_DISCARDED_BYTES = 256 * 1024
RETRY_AFTER_S = 5

_JSON = b"application/json"
_TEXT = b"text/plain"
# Not the compatible endpoint, whether or not this version serves them.
_OWN_PATHS = ("/challenge", "/attest", "/metrics", "/healthz", "/api")


class _BodyTooLargeError(Exception):
    pass


class _ClientGoneError(Exception):
    pass


class Application:
    """registry: where boards are looked up. metrics: where answers are counted. observe(verdict,
    time): told of every verdict. now: the clock, for tests."""

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        observe: Callable[[Verdict, int], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._registry = registry
        self._verdicts = VerdictQueue(registry)
        self._metrics = metrics
        self._observe = observe
        self._now = now

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except Exception as error:
            # A bug of ours: named in the log, and no verdict.
            reason = f"{type(error).__name__}: {error}"
            log_event("internal-error", level=logging.ERROR, peer=_peer(scope), reason=reason)
            await self._answer(send, 500, _TEXT, b"Internal error", _CLOSE)

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            await self._serve_reading(method, send, self._health)
        elif path == "/metrics":
            await self._serve_reading(method, send, self._exposition)
        elif path.startswith(_OWN_PATHS) and _is_own(path):
            await self._answer(send, 404, _TEXT, b"Not found")
        elif method != "POST":
            await self._answer(send, 405, _TEXT, b"Only POST method allowed", _ALLOW_POST)
        else:
            await self._attest(scope, receive, send)

    async def _attest(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            body = await _read_body(receive)
            started = time.perf_counter()
            now = self._now()
            verdict = await self._verdicts.verify(body, now)
        except _ClientGoneError:
            return
        except _BodyTooLargeError:
            log_event("refused", peer=_peer(scope), board=None, failed=["body-too-large"])
            await self._answer(send, 413, _TEXT, b"Request body too large", _CLOSE)
            return
        except RegistryError as error:
            await self._unavailable(send, _peer(scope), error)
            return
        self._metrics.count_verdict(verdict.failed, time.perf_counter() - started)
        self._observe(verdict, int(now.timestamp()))
        if verdict.accepted:
            await self._answer(send, 200, _JSON, b'{"status": "Certificate OK"}')
            return
        log_event(
            "refused",
            peer=_peer(scope),
            board=verdict.board_id,
            failed=list(verdict.failed),
            detail=verdict.detail,
        )
        await self._answer(send, 401, _JSON, b'{"status": "Certificate Invalid"}')

    async def _serve_reading(
        self, method: str, send: Send, serve: Callable[[Send], Awaitable[None]]
    ) -> None:
        if method in ("GET", "HEAD"):
            await serve(send)
        else:
            await self._answer(send, 405, _TEXT, b"Only GET method allowed", _ALLOW_GET)

    async def _health(self, send: Send) -> None:
        try:
            await self._registry.check()
        except RegistryError as error:
            await self._unavailable(send, None, error)
            return
        await self._answer(send, 200, _JSON, b'{"status": "ok"}')

    async def _exposition(self, send: Send) -> None:
        await self._answer(send, 200, CONTENT_TYPE.encode(), self._metrics.exposition())

    async def _unavailable(self, send: Send, peer: str | None, error: RegistryError) -> None:
        self._metrics.count_registry_fault()
        log_event("registry-fault", level=logging.ERROR, peer=peer, reason=str(error))
        await self._answer(send, 503, _JSON, b'{"status": "Registry unavailable"}', _RETRY_AFTER)

    async def _answer(
        self,
        send: Send,
        status: int,
        content_type: bytes,
        body: bytes,
        extra: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self._metrics.count_answer(status)
        headers = [
            (b"Content-Type", content_type),
            (b"Content-Length", b"%d" % len(body)),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_CLOSE = ((b"Connection", b"close"),)
_ALLOW_POST = ((b"Allow", b"POST"),)
_ALLOW_GET = ((b"Allow", b"GET, HEAD"),)
_RETRY_AFTER = ((b"Retry-After", b"%d" % RETRY_AFTER_S),)


def _is_own(path: str) -> bool:
    return any(path == own or path.startswith(own + "/") for own in _OWN_PATHS)


async def _read_body(receive: Receive) -> bytes:
    """The whole body. Raises _BodyTooLargeError, _ClientGoneError."""
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:
        body: bytes = message["body"]
        if len(body) <= MAX_BODY_BYTES:
            return body
    return await _read_long_body(message, receive)


async def _read_long_body(message: Message, receive: Receive) -> bytes:
    body = bytearray()
    received = 0
    while True:
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        received += len(message["body"])
        if received <= MAX_BODY_BYTES:
            body += message["body"]
        if not message["more_body"] or received > _MAX_DISCARDED_BYTES:
            break
        message = await receive()
    if received > MAX_BODY_BYTES:
        raise _BodyTooLargeError
    return bytes(body)


def _peer(scope: MutableMapping[str, Any]) -> str | None:
    client = scope.get("client")
    return None if client is None else f"{client[0]}:{client[1]}"
