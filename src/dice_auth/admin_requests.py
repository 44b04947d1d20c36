"""Parts of requests to the admin API that FastAPI does not read: ids in paths, revisions, cursors,
and which boards a list is to have."""

import binascii
import urllib.parse
from base64 import urlsafe_b64decode, urlsafe_b64encode

from fastapi import Request
from starlette.convertors import Convertor, register_url_convertor

from dice_auth.admin_models import BoardQuery
from dice_auth.admin_refusals import Refused
from dice_auth.entity_tags import if_match_of
from dice_auth.registry import BoardRecord, Revisions


class _IdInPath(Convertor[str]):
    """One part of the path as it was sent, percent-encoded UTF-8 (`admin_gate` has looked)."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return urllib.parse.unquote(value)

    def to_string(self, value: str) -> str:
        return urllib.parse.quote(value, safe="")


ID_IN_PATH = "board"
register_url_convertor(ID_IN_PATH, _IdInPath())


def revisions_of(request: Request, *, is_needed: bool = False) -> Revisions:
    """Those in If-Match; None for `*` or without it. Raises Refused."""
    try:
        condition = if_match_of(request)
    except ValueError as error:
        raise Refused(400, "malformed", str(error)) from None
    if condition is not None:
        return condition.strong
    if is_needed:
        detail = "expected If-Match: the board's ETag, or *"
        raise Refused(428, "precondition-required", detail)
    return None


def cursor_of(place: str) -> str | None:
    """A place in the registry as a client keeps it."""
    if not place:
        return None
    return urlsafe_b64encode(place.encode("utf-8", "surrogateescape")).rstrip(b"=").decode()


def place_of(cursor: str | None) -> str:
    """The opposite. Raises Refused."""
    if cursor is None:
        return ""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = urlsafe_b64decode(padded).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        place = ""
    # Base64 as Python reads it passes over much: only what was given out is taken.
    if not place or cursor_of(place) != cursor:
        raise Refused(400, "malformed", "cursor: expected `next` of a page")
    return place


def selects(query: BoardQuery, record: BoardRecord) -> bool:
    """Whether a list that was asked for so has this board."""
    if query.state is not None and record.state != query.state:
        return False
    if query.application is not None and record.application != query.application:
        return False
    if query.label is not None:
        name, _, value = query.label.partition("=")
        return record.labels.get(name) == value
    return True
