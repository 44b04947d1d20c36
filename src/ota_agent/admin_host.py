"""Whom an admin port on the loopback interface answers: a page in a browser on the same machine
may have any name lead to this address (DNS rebinding), but not choose another Host."""

import ipaddress
import re

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]*)?")


def is_loopback(address: str) -> bool:
    """Of an address without a port."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def names_loopback(host: str) -> bool:
    """Whether a Host field (RFC 9110, 7.2) is `localhost` or an address of the loopback
    interface, with whatever port."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    if found[1] is not None:
        return is_loopback(found[1])
    return found[2].rstrip(".").lower() == "localhost" or is_loopback(found[2])
