"""What the doctor prints: a line for each finding, with its cure, and a summary; or JSON."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from ota_cli import output
from ota_cli.doctor.catalogue import OK, PROBLEM, WARNING
from ota_cli.doctor.finding import Finding

_STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}
_LABEL_CHARS = 9


def print_findings(findings: Sequence[Finding]) -> None:
    """For people: folded at the terminal's width, one physical line each where it is none."""
    for finding in findings:
        _print_line(finding.level, _line(finding))
    count = Counter(finding.level for finding in findings)
    output.console.print(Text(_summary(count)), soft_wrap=True)


def _print_line(level: str, line: str) -> None:
    if output.console.is_terminal:
        width = max(output.console.width, 40) - _LABEL_CHARS
        lines = textwrap.wrap(line, width, break_on_hyphens=False) or [""]
        line = ("\n" + " " * _LABEL_CHARS).join(lines)
    text = Text(f"{level:<{_LABEL_CHARS}}", style=_STYLES[level])
    output.console.print(text.append(line, style="none"), soft_wrap=True)


def _line(finding: Finding) -> str:
    text = f"{finding.subject}: {finding.message}"
    if finding.cure is None:
        return text
    return f"{text}. Cure: {finding.cure} [{finding.code}]"


def _summary(count: Counter[str]) -> str:
    problems, warnings = count[PROBLEM], count[WARNING]
    parts = [_count(problems, "problem"), _count(warnings, "warning"), f"{count[OK]} fine"]
    if not problems and not warnings:
        return f"all is well: {count[OK]} fine"
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The document: docs/doctor.md."""
    count = Counter(finding.level for finding in findings)
    return {
        "problems": count[PROBLEM],
        "warnings": count[WARNING],
        "fine": count[OK],
        "findings": [
            {
                "code": finding.code,
                "level": finding.level,
                "subject": finding.subject,
                "message": finding.message,
                "cure": finding.cure,
            }
            for finding in findings
        ],
    }
