"""Where an admin port is, as a person types it."""

from urllib.parse import urlsplit

import httpx

from ota_cli.addresses import is_host

_DEFAULT_PORT, _HTTP_PORT = 4434, 80


def admin_url(text: str) -> str | None:
    """`http://HOST:PORT` from that, HOST:PORT, HOST or PORT; None where it is none of these.

    The address of `/sessions` itself is taken too. Neither a name nor a password: the admin port
    asks for none, and the URL is printed.
    """
    if text.isascii() and text.isdecimal():
        text = f"127.0.0.1:{text}"
    has_scheme = "://" in text
    try:
        url = urlsplit(text if has_scheme else f"http://{text}")
        port = url.port
    except ValueError:
        return None
    is_root = url.path in ("", "/", "/sessions") and not (url.query or url.fragment)
    host = url.hostname or ""
    if url.scheme != "http" or "@" in url.netloc or port == 0 or not is_root or not is_host(host):
        return None
    host = f"[{host}]" if ":" in host else host
    found = f"http://{host}:{port or (_HTTP_PORT if has_scheme else _DEFAULT_PORT)}"
    try:
        httpx.URL(found)  # which has rules of its own for names
    except httpx.InvalidURL:
        return None
    return found
