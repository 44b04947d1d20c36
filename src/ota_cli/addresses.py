"""Addresses on the command line: `HOST:PORT`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import click


class Address(NamedTuple):
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int


def listen_option(name: str, default: str) -> Callable[[Any], Any]:
    """An option that takes an Address."""
    return click.option(
        name,
        default=default,
        show_default=True,
        metavar="HOST:PORT",
        callback=_parse,
        help="Address to listen on; port 0 takes a free one.",
    )


def is_host(text: str) -> bool:
    """Whether a text can name a host: an address, or what IDNA (RFC 3490) can encode."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return bool(text) and text.isprintable() and not any(c in " /@[]" for c in text)


def admin_option(name: str, default: str) -> Callable[[Any], Any]:
    """An option that takes an Address, or None for `off`."""
    return click.option(
        name,
        default=default,
        show_default=True,
        metavar="[HOST:]PORT",
        callback=_parse_admin,
        help="Address for /metrics, /healthz and /sessions (HTTP); a port alone: on this machine"
        " only; off: none.",
    )


def _parse_admin(ctx: click.Context, param: click.Parameter, value: str) -> Address | None:
    if value == "off":
        return None
    if value.isascii() and value.isdecimal():
        value = f"127.0.0.1:{value}"
    try:
        return _parse(ctx, param, value)
    except click.BadParameter:
        raise click.BadParameter(
            f"{value!r}: expected [HOST:]PORT, as 127.0.0.1:4434, or off"
        ) from None


def _parse(ctx: click.Context, param: click.Parameter, value: str) -> Address:
    host, colon, port = value.rpartition(":")
    digits = port.isascii() and port.isdecimal() and len(port) <= 5
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not is_host(host) or not digits or int(port) > 65535:
        raise click.BadParameter(f"{value!r}: expected HOST:PORT, as 127.0.0.1:8000")
    return Address(host, int(port))
