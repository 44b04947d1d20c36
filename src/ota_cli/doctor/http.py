"""One bounded HTTP request to somebody who need not be friendly."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from ota_cli.addresses import is_host
from ota_cli.doctor.finding import one_line
from ota_cli.doctor.ports import Place
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.output import printable

_DEADLINE_S = 4.0
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class Url:
    """Where a server is, without user, password, query and fragment."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = 443 if self.scheme == "https" else 80
        return (
            f"{self.scheme}://{host}{'' if self.port == standard else f':{self.port}'}{self.path}"
        )


def parse_url(text: str, option: str, port: int | None = None) -> Url:
    """http://HOST[:PORT][/PATH] or https; without a scheme, or as a bare number (a port of this
    machine), http. port: where the text has neither port nor scheme. Raises CommandError."""
    full = f"127.0.0.1:{text}" if text.isascii() and text.isdecimal() else text
    try:
        parts = urlsplit(full if "://" in full else "http://" + full)
        found = parts.port
        host = parts.hostname or ""
        valid = parts.scheme in ("http", "https") and is_host(host) and found != 0
        valid = valid and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        valid = False
    if not valid:
        raise CommandError(
            f"{option} {printable(text)[:80]!r}: expected http://HOST[:PORT]", EXIT_USAGE
        )
    standard = 443 if parts.scheme == "https" else 80
    if "://" not in text and port is not None:
        standard = port
    return Url(parts.scheme, host, found or standard, parts.path.rstrip("/"))


@dataclass(frozen=True)
class Answer:
    """certificate: the server's own, DER, over https."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes | None = None

    def text(self) -> str:
        """The body as one short line."""
        return one_line(self.body[:400].decode(errors="replace"), 160)


class NoAnswer(Exception):
    """What came is no HTTP answer, or none came in time; the text says which.

    refused: OpenSSL's number of why the certificate was refused, if that was it. is_tls: whether
    TLS failed in whatever way.
    """

    def __init__(self, message: str, *, refused: int | None = None, is_tls: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
        self.is_tls = is_tls


def ask(
    place: Place,
    url: Url,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    deadline_s: float = _DEADLINE_S,
) -> Answer:
    """One request below the URL, to the address that was found; no redirect is followed.

    tls: for https; None trusts the system's CAs. Raises NoAnswer.
    """
    request = _exchange(place, url, path, method, headers or {}, body, tls, deadline_s)
    try:
        return asyncio.run(request)
    except TimeoutError:
        raise NoAnswer(f"no answer in {deadline_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _no_answer(error, deadline_s) from None


async def _exchange(
    place: Place,
    url: Url,
    path: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    tls: ssl.SSLContext | None,
    deadline_s: float,
) -> Answer:
    address = f"[{place.address}]" if ":" in place.address else place.address
    host = f"[{url.host}]" if ":" in url.host else url.host
    sent = {"Host": f"{host}:{url.port}", "Accept-Encoding": "identity", **headers}
    verify = (tls or httpx.create_ssl_context()) if url.scheme == "https" else False
    async with (
        asyncio.timeout(deadline_s),
        httpx.AsyncClient(timeout=deadline_s, trust_env=False, verify=verify) as client,
        client.stream(
            method,
            f"{url.scheme}://{address}:{place.port}{url.path}{path}",
            headers=sent,
            content=body or None,
            extensions={"sni_hostname": url.host},
        ) as response,
    ):
        said = b""
        async for piece in response.aiter_raw():
            said += piece
            if len(said) > _MOST_BYTES:
                raise NoAnswer(f"an answer of over {_MOST_BYTES} bytes")
        stream = response.extensions["network_stream"]
        tls_object = stream.get_extra_info("ssl_object")
        certificate = tls_object.getpeercert(binary_form=True) if tls_object else None
        return Answer(response.status_code, response.headers, said, certificate)


def _no_answer(error: Exception, deadline_s: float) -> NoAnswer:
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer(f"no answer in {deadline_s:g} s")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = one_line(cause.verify_message or "refused", 120)
            return NoAnswer(reason, refused=cause.verify_code, is_tls=True)
        if isinstance(cause, ssl.SSLError):
            return NoAnswer(f"no TLS ({cause.reason or 'handshake failed'})", is_tls=True)
        cause = cause.__cause__ or cause.__context__
    reason = one_line(str(error), 120) or type(error).__name__
    return NoAnswer(f"no HTTP answer: {reason}")


def json_object(answer: Answer) -> dict[str, Any] | None:
    """The body as a JSON object, None if it is none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
