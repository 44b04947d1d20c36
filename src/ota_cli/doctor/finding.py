"""What the doctor finds: a code of the catalogue, where, and what was expected and found."""

from dataclasses import dataclass

from ota_cli.doctor.catalogue import CATALOGUE, OK
from ota_cli.output import printable

_MOST_MESSAGE_CHARS = 400
_MOST_SUBJECT_CHARS = 120


@dataclass(frozen=True)
class Finding:
    """code: stable, one of the catalogue's. level: `ok`, `warning` or `problem`. subject: what was
    looked at. message: one line, what was expected and found. cure: one line; None if all is well.
    """

    code: str
    level: str
    subject: str
    message: str
    cure: str | None


class Findings:
    """Collects the findings about one subject. Texts may be a stranger's: they come out on one
    line, not too long, and without control characters."""

    def __init__(self, subject: str) -> None:
        self.subject = one_line(subject, _MOST_SUBJECT_CHARS)
        self.found: list[Finding] = []

    def add(self, code: str, message: str, cure: str | None = None) -> None:
        """cure: in place of the catalogue's, where more is known."""
        entry = CATALOGUE[code]
        text = one_line(message)
        if not text.endswith(".."):
            text = text.removesuffix(".")
        self.found.append(Finding(code, entry.level, self.subject, text, cure or entry.cure))

    def are_fine(self) -> bool:
        """Whether nothing was found that is not well."""
        return all(finding.level == OK for finding in self.found)


def one_line(text: str, most: int = _MOST_MESSAGE_CHARS) -> str:
    """A stranger's text as one line that is not too long."""
    shown = printable(" ".join(text[: 2 * most].split()))
    return shown if len(shown) <= most else shown[: most - 3] + "..."
