"""The body of `POST /update`: which agent is meant (protocol.md, section A)."""

import json

from .compat import const
from .errors import BadRequest

MAX_BODY_BYTES = const(256)
_EXPECTED = const('expected `ip: A.B.C.D` or JSON {"agent": "HOST:PORT"}')


def parse_update_request(body, content_type=None, default_port=4433):
    """The (host, port) that an update request names.

    body: bytes, at most 256. content_type: the header's value or None.
    Raises BadRequest with the HTTP status to answer.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest("body of %d bytes, at most %d" % (len(body), MAX_BODY_BYTES), 413)
    try:
        text = bytes(body).decode()
    except UnicodeError:
        raise BadRequest("body is not text: " + _EXPECTED)
    if content_type and content_type.split(";")[0].strip().lower() == "application/json":
        return _parse_json(text, default_port)
    if text.endswith("\n"):
        text = text[:-2] if text.endswith("\r\n") else text[:-1]
    if not text.startswith("ip: "):
        raise BadRequest("no agent address: " + _EXPECTED)
    host, port = _split_port(text[4:], default_port)
    if not is_ipv4(host):
        raise BadRequest("agent address %r: expected A.B.C.D, each 0 to 255" % _shown(host))
    return host, port


def parse_address(text, default_port=4433):
    """`HOST` or `HOST:PORT`, HOST an IPv4 address or a DNS name, as (host, port)."""
    host, port = _split_port(text, default_port)
    if not is_ipv4(host) and not is_dns_name(host):
        raise BadRequest("agent %r: expected an IPv4 address or a DNS name" % _shown(host))
    return host, port


def is_ipv4(text):
    """Whether the text is four decimal numbers from 0 to 255 with dots, no leading zeros."""
    parts = text.split(".")
    return len(parts) == 4 and all(
        _is_decimal(part) and len(part) <= 3 and int(part) <= 255 and str(int(part)) == part
        for part in parts
    )


def is_dns_name(text):
    """Whether the text is a host name: RFC 1123 labels, not all digits at the end, <= 253."""
    labels = text.split(".")
    if len(text) > 253 or _is_decimal(labels[-1]):
        return False
    return all(_is_label(label) for label in labels)


def _parse_json(text, default_port):
    try:
        value = json.loads(text)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        raise BadRequest("body is not JSON: " + _EXPECTED)
    agent = value.get("agent") if isinstance(value, dict) else None
    if not isinstance(agent, str):
        raise BadRequest("no agent in the JSON body: " + _EXPECTED)
    return parse_address(agent, default_port)


def _split_port(text, default_port):
    host, colon, port = text.partition(":")
    if not colon:
        return host, default_port
    if not _is_decimal(port) or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise BadRequest("port %r: expected 1 to 65535" % _shown(port))
    return host, int(port)


# Characters are looked at as bytes: MicroPython keeps each one that it has made a str of.


def _is_decimal(text):
    return text.encode("ascii", "replace").isdigit()


def _is_label(text):
    label = text.encode("ascii", "replace")
    if not 1 <= len(label) <= 63 or label[0] == 0x2D or label[-1] == 0x2D:
        return False
    # Letters in lower case, digits, hyphens
    return all(
        0x61 <= byte | 0x20 <= 0x7A or 0x30 <= byte <= 0x39 or byte == 0x2D for byte in label
    )


def _shown(text):
    return text if len(text) <= 40 else text[:37] + "..."
