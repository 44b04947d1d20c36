"""An entry of the catalogue."""

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Entry:
    """meaning: for the documentation. cure: one line, None where all is well."""

    level: str
    meaning: str
    cure: str | None


def fine(meaning: str) -> Entry:
    return Entry(OK, meaning, None)


def warning(meaning: str, cure: str) -> Entry:
    return Entry(WARNING, meaning, cure)


def problem(meaning: str, cure: str) -> Entry:
    return Entry(PROBLEM, meaning, cure)
