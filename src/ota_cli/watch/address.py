"""Where an admin port is, as a person types it."""

import httpx

from ota_cli.addresses import is_host

_DEFAULT_PORT = 4434


def admin_url(text: str) -> str | None:
    """`http://HOST:PORT` from that, HOST:PORT, HOST or PORT; None where it is none of these.

    The address of `/sessions` itself is taken too. Neither a name nor a password: the admin port
    asks for none, and the URL is printed.
    """
    if " " in text:  # which httpx would encode
        return None
    if text.isascii() and text.isdecimal():
        text = f"127.0.0.1:{text}"
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
        port = url.port or (80 if "://" in text else _DEFAULT_PORT)
        is_root = url.path in ("/", "/sessions") and not (url.query or url.fragment or url.userinfo)
        if url.scheme != "http" or url.port == 0 or not is_root or not is_host(url.host):
            return None
    except (httpx.InvalidURL, UnicodeError):
        return None
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"http://{host}:{port}" if port < 65536 else None
