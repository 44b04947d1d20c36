"""What the server's parts say to uvicorn (ASGI): a request's body in, an answer out."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

# More than the limit is read before it is refused: an answer to a client that is still sending
# would be lost with the reset of the connection.
_MAX_DISCARDED_BYTES = 256 * 1024

CLOSE = ((b"Connection", b"close"),)


class BodyTooLargeError(Exception):
    """More bytes than the limit; some more have been read, but perhaps not all."""


class ClientGoneError(Exception):
    """The connection ended before the body did."""


async def read_body(receive: Receive, most_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLargeError, ClientGoneError."""
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:
        body: bytes = message["body"]
        if len(body) <= most_bytes:
            return body
    return await _read_long_body(message, receive, most_bytes)


async def _read_long_body(message: Message, receive: Receive, most_bytes: int) -> bytes:
    body = bytearray()
    received = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        received += len(message["body"])
        if received <= most_bytes:
            body += message["body"]
        if not message["more_body"] or received > max(most_bytes, _MAX_DISCARDED_BYTES):
            break
        message = await receive()
    if received > most_bytes:
        raise BodyTooLargeError
    return bytes(body)


async def send_answer(
    send: Send, status: int, content_type: bytes, body: bytes, extra: Headers = ()
) -> None:
    """A whole answer. extra: more headers."""
    headers = [
        (b"Content-Type", content_type),
        (b"Content-Length", b"%d" % len(body)),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def peer_of(scope: Scope) -> str | None:
    """Who asks, for the log."""
    client = scope.get("client")
    return None if client is None else f"{client[0]}:{client[1]}"
