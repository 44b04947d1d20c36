"""What a board says of itself, checked: a wrong type is an error, never a wrong conclusion."""

import re
from dataclasses import dataclass
from typing import Any

from ota_cli.output import printable

_MOST_BYTES = 2**32
_MOST_SHOWN = 200


@dataclass(frozen=True)
class Failure:
    """Why an update failed: a stable code and a text."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True)
class Status:
    """The answer to GET /update. received, total: bytes; total is None while unknown.

    running: label of the slot. confirmed: whether its image passed its self-test. nonce: what the
    next request has to prove the trigger key with, None where none is set.
    """

    state: str
    received: int
    total: int | None
    running: str
    confirmed: bool
    error: Failure | None
    attempt: int
    nonce: str | None = None


@dataclass(frozen=True)
class Info:
    """The answer to GET /info, as far as it names the firmware; empty where it does not."""

    application: str
    version: str


class WrongField(ValueError):
    """A field that is missing or of another type; the text names it."""


def parse_status(fields: dict[str, Any]) -> Status:
    """Raises WrongField."""
    return Status(
        state=_text(fields, "state"),
        received=_count(fields, "received"),
        total=None if fields.get("total", "") is None else _count(fields, "total"),
        running=_text(fields, "running"),
        confirmed=_bool(fields, "confirmed"),
        error=_failure(fields),
        attempt=_count(fields, "attempt") if "attempt" in fields else 0,
        nonce=_nonce(fields),
    )


def parse_info(fields: dict[str, Any]) -> Info:
    """Raises WrongField."""
    return Info(*(_text(fields, name, "") for name in ("application", "version")))


def _failure(fields: dict[str, Any]) -> Failure | None:
    error = fields.get("error", "")
    if error is None:
        return None
    try:
        if isinstance(error, dict):
            return Failure(_text(error, "code"), _text(error, "message"))
    except WrongField:
        pass
    raise WrongField("error: expected null or an object of code and message, both texts")


def _nonce(fields: dict[str, Any]) -> str | None:
    """As it is, for a header."""
    value = fields.get("nonce")
    if value is None or (isinstance(value, str) and re.fullmatch(r"[!-~]{1,128}", value)):
        return value
    raise WrongField("nonce: expected up to 128 visible ASCII characters")


def _text(fields: dict[str, Any], name: str, default: object = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise WrongField(f"{name}: expected a text")
    return printable(" ".join(value[:_MOST_SHOWN].split()))


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= _MOST_BYTES:
        raise WrongField(f"{name}: expected a number from 0 to {_MOST_BYTES}")
    return value


def _bool(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise WrongField(f"{name}: expected true or false")
    return value
