"""This machine's clock: certificates are judged by it, here and at the attestation server."""

from datetime import UTC, datetime, timedelta

from ota_cli.doctor.finding import Finding, Findings

_MADE = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_SKEW = timedelta(minutes=1)


def look(now: datetime, others: list[tuple[str, datetime, datetime]]) -> list[Finding]:
    """others: who, what its clock said, and what ours said then."""
    findings = Findings("clock of this machine")
    if now < _MADE:
        text = f"expected {_MADE:%Y-%m-%d} or later, found {now:%Y-%m-%d %H:%M} UTC"
        findings.add("clock-wrong", text)
    for who, said, ours in others:
        if abs(said - ours) > _MOST_SKEW:
            text = f"{who} says {said:%Y-%m-%d %H:%M:%S}, here it is {ours:%Y-%m-%d %H:%M:%S} UTC"
            findings.add("clock-differs", text)
    if findings.are_fine():
        text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
        findings.add("clock-ok", f"{text}, as {others[0][0]} says" if others else text)
    return findings.found
