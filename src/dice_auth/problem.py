"""Problem details (RFC 9457): why a request of protocol 2 or of the admin API was refused."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

CONTENT_TYPE = b"application/problem+json"


def problem(
    status: int, detail: str, check: str = "", errors: Sequence[Mapping[str, str]] = ()
) -> bytes:
    """The body. detail: one line for a person. check: the name of what failed, for a program.
    errors: what is wrong with the parts of a request, if there are several."""
    members: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if check:
        members["check"] = check
    if errors:
        members["errors"] = list(errors)
    return json.dumps(members).encode()
