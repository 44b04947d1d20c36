"""Addresses on the command line: `HOST:PORT`, each part with a default."""

from typing import Any, NamedTuple

import click


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class _AddressType(click.ParamType):
    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Address):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r}: expected HOST:PORT, as 127.0.0.1:8000", param, ctx)
        return Address(host.strip("[]"), int(port))


LISTEN_ADDRESS = _AddressType()
