"""Running the doctor in tests, and the list of codes that tests provoke.

The list cannot lie: what `provokes` names has to be among the findings that the test's own calls of
`doctor` have brought, else the test fails.
"""

import contextlib
import functools
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from ota_cli.command_line import run
from ota_cli.doctor.catalogue import CATALOGUE, OK
from ota_cli.doctor.examination import Asked, examine
from ota_cli.doctor.finding import Finding

PROVOKED: set[str] = set()
_seen: list[str] = []


@dataclass
class Report:
    """exit_code: of the command."""

    exit_code: int
    findings: list[Finding]

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.findings]

    @property
    def complaints(self) -> list[str]:
        """The codes of what is not well."""
        return [finding.code for finding in self.findings if finding.level != OK]

    def message(self, code: str) -> str:
        """Of the finding with this code."""
        return next(finding.message for finding in self.findings if finding.code == code)


def doctor(*arguments: Any) -> Report:
    """`ota-service doctor --json`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(["doctor", *map(str, arguments), "--json"])
    assert code in (0, 1), (code, arguments)
    document = json.loads(out.getvalue())
    report = Report(code, [Finding(**each) for each in document["findings"]])
    assert document["problems"] == [each.level for each in report.findings].count("problem")
    assert code == (1 if document["problems"] else 0)
    _check(report.findings)
    return report


def doctor_at(now: datetime, **asked: Any) -> Report:
    """The same on a machine whose clock shows another time."""
    findings = examine(Asked(**asked), now.replace(tzinfo=UTC))
    _check(findings)
    return Report(-1, findings)


def _check(findings: list[Finding]) -> None:
    """What holds for every finding."""
    for finding in findings:
        assert finding.level == CATALOGUE[finding.code].level
        assert (finding.cure is None) == (finding.level == OK)
        for text in (finding.subject, finding.message, finding.cure or "-"):
            assert text and text.isprintable(), finding
        _seen.append(finding.code)


def provokes(*codes: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test brings these findings; it fails if it does not."""
    PROVOKED.update(codes)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run_test(*arguments: Any, **named: Any) -> None:
            with _watching(set(codes)):
                test(*arguments, **named)

        return run_test

    return decorate


def each_provokes(names: str, cases: dict[str, Any]) -> Callable[..., Any]:
    """A parametrized test, once for each code: its arguments are `code` and these names."""
    PROVOKED.update(cases)
    wanted = names.split(",")
    rows = [(code, *(values if len(wanted) > 1 else (values,))) for code, values in cases.items()]

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def run_test(*arguments: Any, **named: Any) -> None:
            with _watching({named["code"]}):
                test(*arguments, **named)

        return pytest.mark.parametrize(("code", *wanted), rows, ids=list(cases))(run_test)

    return decorate


@contextlib.contextmanager
def _watching(codes: set[str]) -> Iterator[None]:
    _seen.clear()
    yield
    assert codes <= set(_seen), f"not provoked: {sorted(codes - set(_seen))}, only {_seen}"
