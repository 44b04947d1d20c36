"""The HTTP resources of the attestation server, as a bare ASGI application.

The compatible endpoint answers on every path but those named here: protocol.md, section D. A
fault of the registry is 503, never a verdict. Sockets and HTTP framing are the server's
(`server`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from dice_auth.errors import RegistryError
from dice_auth.registry import Registry
from dice_auth.structured_log import log_event
from dice_auth.verification import verify_request_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 16 * 1024
# More than the limit is read before it is refused: an answer to a client that is still sending
# would be lost with the reset of the connection.
_MAX_DISCARDED_BYTES = 256 * 1024
BODY_TIMEOUT_S = 10.0
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
    """registry: where boards are looked up. now: the clock, for tests."""

    def __init__(
        self, registry: Registry, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._registry = registry
        self._now = now

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            await self._health(method, send)
        elif any(path == own or path.startswith(own + "/") for own in _OWN_PATHS):
            await _answer(send, 404, _TEXT, b"Not found")
        elif method != "POST":
            await _answer(
                send, 405, _TEXT, b"Only POST method allowed", extra=[(b"Allow", b"POST")]
            )
        else:
            await self._attest(scope, receive, send)

    async def _attest(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        peer = _peer(scope)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _read_body(receive)
            verdict = await verify_request_body(body, self._registry, self._now())
        except _ClientGoneError:
            return
        except TimeoutError:
            log_event("refused", peer=peer, board=None, failed=["body-timeout"])
            await _answer(send, 408, _TEXT, b"Request body timeout", extra=_CLOSE)
            return
        except _BodyTooLargeError:
            log_event("refused", peer=peer, board=None, failed=["body-too-large"])
            await _answer(send, 413, _TEXT, b"Request body too large", extra=_CLOSE)
            return
        except RegistryError as error:
            await _unavailable(send, peer, error)
            return
        if verdict.accepted:
            await _answer(send, 200, _JSON, b'{"status": "Certificate OK"}')
            return
        log_event(
            "refused",
            peer=peer,
            board=verdict.board_id,
            failed=list(verdict.failed),
            detail=verdict.detail,
        )
        await _answer(send, 401, _JSON, b'{"status": "Certificate Invalid"}')

    async def _health(self, method: str, send: Send) -> None:
        if method not in ("GET", "HEAD"):
            await _answer(
                send, 405, _TEXT, b"Only GET method allowed", extra=[(b"Allow", b"GET, HEAD")]
            )
            return
        try:
            await self._registry.check()
        except RegistryError as error:
            await _unavailable(send, None, error)
            return
        await _answer(send, 200, _JSON, b'{"status": "ok"}')


_CLOSE = [(b"Connection", b"close")]


async def _read_body(receive: Receive) -> bytes:
    """The whole body. Raises _BodyTooLargeError, _ClientGoneError."""
    body = bytearray()
    received = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        received += len(message["body"])
        if received <= MAX_BODY_BYTES:
            body += message["body"]
        if not message["more_body"] or received > _MAX_DISCARDED_BYTES:
            break
    if received > MAX_BODY_BYTES:
        raise _BodyTooLargeError
    return bytes(body)


async def _unavailable(send: Send, peer: str | None, error: RegistryError) -> None:
    log_event("registry-fault", level=logging.ERROR, peer=peer, reason=str(error))
    await _answer(
        send,
        503,
        _JSON,
        b'{"status": "Registry unavailable"}',
        extra=[(b"Retry-After", str(RETRY_AFTER_S).encode())],
    )


async def _answer(
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    *,
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"Content-Type", content_type),
        (b"Content-Length", str(len(body)).encode()),
        *(extra or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _peer(scope: MutableMapping[str, Any]) -> str | None:
    client = scope.get("client")
    return None if client is None else f"{client[0]}:{client[1]}"
