"""Answers of protocol 2 as bytes: HTTP/1.1, errors as problem details (RFC 9457)."""

import json
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

# Text of the attestation server, say, is cut to this.
_MOST_DETAIL = 200
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer(
    status: int, headers: str = "", body: bytes | None = b"", *, is_last: bool = False
) -> bytes:
    """headers: lines, each with its end, to which Date and, unless body is None, Content-Length
    are added. is_last: the connection is closed after it."""
    length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
    return head(status, headers + length, is_last=is_last) + (body or b"")


def head(status: int, headers: str, *, is_last: bool = False) -> bytes:
    """Of an answer whose body follows."""
    close = "Connection: close\r\n" if is_last else ""
    # RFC 9110, 6.6.1: whoever has a clock says what it shows.
    date = _date(int(time.time()))
    return f"HTTP/1.1 {status} {_PHRASES[status]}\r\nDate: {date}\r\n{headers}{close}\r\n".encode()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """As HTTP writes it (RFC 9110, 5.6.7); made once for all that is answered in it."""
    return formatdate(second, usegmt=True)


def problem(
    status: int,
    detail: str,
    headers: str = "",
    *,
    is_last: bool = False,
    is_head: bool = False,
    **more: str,
) -> bytes:
    """The answer to what cannot be done. more: members beside title, status and detail.
    is_head: to HEAD, which gets no body."""
    document = {"title": _PHRASES[status], "status": status, "detail": detail[:_MOST_DETAIL]}
    body = json.dumps({**document, **more}, separators=(",", ":")).encode()
    headers = f"Content-Type: application/problem+json\r\n{headers}"
    whole = answer(status, headers, body, is_last=is_last)
    return whole[: -len(body)] if is_head else whole
