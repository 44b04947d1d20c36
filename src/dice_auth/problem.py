"""Problem details (RFC 9457): why a request to the paths of protocol 2 was refused."""

import json
from http import HTTPStatus

CONTENT_TYPE = b"application/problem+json"


def problem(status: int, detail: str, check: str = "") -> bytes:
    """The body. detail: one line for a person. check: the name of what failed, for a program."""
    members: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if check:
        members["check"] = check
    return json.dumps(members).encode()
