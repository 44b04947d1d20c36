"""The answer of an agent's /sessions, checked: what is not as it should be is an error."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.cells import cell_len

from ota_cli.output import printable

_MOST_SHOWN = 200
_MOST = 2.0**63  # of any number: what no agent counts to, and can still be printed
_MOST_SESSIONS, _MOST_FIRMWARE = 1000, 100  # that are looked at


class WrongField(ValueError):
    """A field that is missing or of another type; the text names it."""


@dataclass(frozen=True)
class Agent:
    """workers_missing: how many of the workers are not there just now."""

    host: str
    port: int
    version: str
    workers: int
    workers_missing: int
    started: datetime
    is_finishing: bool


@dataclass(frozen=True)
class Firmware:
    """name: project, version and chip."""

    name: str
    is_default: bool


@dataclass(frozen=True)
class Totals:
    """Sessions since the agent started, by how they ended; bytes of all of them."""

    sent: int
    up_to_date: int
    refused: int
    failed: int
    turned_away: int
    bytes: int


@dataclass(frozen=True)
class Session:
    """A board that is connected. bytes, total: of what is being sent now; total is None while
    unknown. board, firmware, protocol: None while unknown."""

    worker: int
    peer: str
    board: str | None
    protocol: int | None
    state: str
    firmware: str | None
    bytes: int
    total: int | None
    bytes_per_s: float
    age_s: float

    @property
    def is_sending(self) -> bool:
        return self.state == "sending"


@dataclass(frozen=True)
class Sessions:
    """count: how many there are, of which `sessions` are the first; firmware_count likewise.
    sending, bytes_per_s: of all of them, None where the agent does not say."""

    agent: Agent
    firmware: tuple[Firmware, ...]
    firmware_count: int
    totals: Totals
    count: int
    sessions: tuple[Session, ...]
    sending: int | None
    bytes_per_s: float | None


def parse_sessions(value: Any) -> Sessions:
    """value: decoded JSON. Raises WrongField."""
    top = _Fields(value, "")
    agent, totals = _Fields(top.get("agent"), "agent."), _Fields(top.get("totals"), "totals.")
    firmware, sessions = top.objects("firmware"), top.objects("sessions")
    return Sessions(
        agent=Agent(
            host=agent.text("host"),
            port=agent.count("port"),
            version=agent.text("version"),
            workers=agent.count("workers"),
            workers_missing=agent.count("workers_missing"),
            started=agent.time("started"),
            is_finishing=agent.boolean("is_finishing"),
        ),
        firmware=tuple(_firmware(each) for each in firmware[:_MOST_FIRMWARE]),
        firmware_count=len(firmware),
        totals=Totals(**{name: totals.count(name) for name in Totals.__dataclass_fields__}),
        count=top.count("count"),
        sessions=tuple(_session(each) for each in sessions[:_MOST_SESSIONS]),
        sending=top.count("sending") if top.has("sending") else None,
        bytes_per_s=top.number("bytes_per_s") if top.has("bytes_per_s") else None,
    )


def _firmware(fields: "_Fields") -> Firmware:
    names = (fields.text(name) for name in ("project", "version", "chip"))
    return Firmware(" ".join(filter(None, names)), fields.boolean("is_default"))


def _session(fields: "_Fields") -> Session:
    return Session(
        worker=fields.count("worker"),
        peer=fields.text("peer"),
        board=fields.text("board") if fields.has("board") else None,
        protocol=fields.count("protocol") if fields.has("protocol") else None,
        state=fields.text("state"),
        firmware=fields.text("firmware") if fields.has("firmware") else None,
        bytes=fields.count("bytes"),
        total=fields.count("total") if fields.has("total") else None,
        bytes_per_s=fields.number("bytes_per_s"),
        age_s=fields.number("age_s"),
    )


class _Fields:
    """A JSON object, read field by field. where: what its fields' names begin with in errors."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise WrongField(f"{where.rstrip('.')}: expected an object".removeprefix(": "))
        self._fields = value
        self._where = where

    def get(self, name: str) -> Any:
        return self._fields.get(name)

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def text(self, name: str) -> str:
        """One line that a terminal can be sent, of at most so many characters."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return _visible(value[:_MOST_SHOWN])[:_MOST_SHOWN]

    def number(self, name: str) -> float:
        value = self.get(name)
        if type(value) not in (int, float) or not 0 <= value <= _MOST:  # which nan is not either
            raise self._wrong(name, "a number, not below 0")
        return float(value)

    def count(self, name: str) -> int:
        value = self.get(name)
        if type(value) is not int or not 0 <= value <= _MOST:
            raise self._wrong(name, "a whole number, not below 0")
        return value

    def boolean(self, name: str) -> bool:
        value = self.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def time(self, name: str) -> datetime:
        try:
            value = datetime.fromisoformat(self.get(name))
        except (TypeError, ValueError):
            value = datetime.min
        if value.tzinfo is None:
            raise self._wrong(name, "a time as 2026-11-26T17:00:00Z")
        return value

    def objects(self, name: str) -> list["_Fields"]:
        values = self.get(name)
        if not isinstance(values, list):
            raise self._wrong(name, "a list")
        where = f"{self._where}{name}"
        return [_Fields(value, f"{where}[{number}].") for number, value in enumerate(values)]

    def _wrong(self, name: str, expected: str) -> WrongField:
        return WrongField(f"{self._where}{name}: expected {expected}")


def _visible(text: str) -> str:
    """Escapes for what has no width of its own too: terminals do not agree on where it goes."""
    if text.isascii():
        return printable(" ".join(text.split()))
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(
        each if cell_len(each) else each.encode("unicode_escape").decode()
        for each in printable(composed)
    )
