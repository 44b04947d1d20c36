"""The agent's admin port: does it serve boards, and what.

What /healthz and /sessions say: docs/agent.md.
"""

from dataclasses import dataclass
from typing import Any

from ota_cli.doctor import http, ports
from ota_cli.doctor.finding import Finding, Findings, one_line
from ota_cli.doctor.http import NoAnswer, Url


@dataclass(frozen=True)
class Offered:
    """Firmware the agent has. chip: in lower case, without dashes, as boards say it."""

    chip: str
    project: str
    version: str


def look(url: Url) -> tuple[list[Finding], list[Offered] | None]:
    """The second is what the agent offers, None if that is not known."""
    findings = Findings(f"agent's admin port {url}")
    place = ports.reach("agent-admin", url.host, url.port, findings)
    if place is None:
        return findings.found, None
    try:
        health = http.ask(place, url, "/healthz")
        sessions = http.ask(place, url, "/sessions?limit=1")
    except NoAnswer as error:
        findings.add("agent-admin-not-agent", f"expected /healthz and /sessions, found {error}")
        return findings.found, None
    said, state = http.json_object(sessions), http.json_object(health)
    agent = said.get("agent") if said is not None else None
    if state is None or said is None or not isinstance(agent, dict):
        text = f"expected an agent's JSON, found status {health.status} and {sessions.status}"
        findings.add("agent-admin-not-agent", text)
        return findings.found, None
    offered = _offered(said.get("firmware"))
    _judge(health.status, state, agent, said.get("totals"), findings)
    if offered is None:
        findings.add("agent-admin-not-agent", "expected a list of firmware at /sessions")
    elif not offered:
        findings.add("agent-serves-nothing", "expected at least one image, found none")
    if findings.are_fine():
        names = [f"{each.project} {each.version} {each.chip}" for each in offered or []]
        text = f"serves boards; firmware: {', '.join(names[:5])}"
        findings.add("agent-admin-ok", text + (", ..." if len(names) > 5 else ""))
    return findings.found, offered


def look_for_board(offered: list[Offered], chip: str, application: str, findings: Findings) -> None:
    """Is there firmware for a board of this chip and application? Empty texts are not known."""
    if not offered or not chip:
        return
    for each in offered:
        if each.chip == chip and application in ("", each.project):
            return
    found = ", ".join(f"{each.project} {each.chip}" for each in offered[:5])
    findings.add("agent-lacks-firmware", f"expected {application} {chip}, found {found}")


def _judge(
    status: int, state: dict[str, Any], agent: dict[str, Any], totals: Any, findings: Findings
) -> None:
    if status != 200 or agent.get("is_finishing") is True:
        text = one_line(str(state.get("status", "no status")), 60)
        findings.add("agent-finishing", f"/healthz: expected 200 ok, found {status} {text}")
    missing = agent.get("workers_missing")
    if isinstance(missing, int) and missing > 0:
        text = f"{missing} of {one_line(str(agent.get('workers')), 10)} workers are missing"
        findings.add("agent-workers-missing", text)
    turned_away = totals.get("turned_away") if isinstance(totals, dict) else None
    if isinstance(turned_away, int) and turned_away > 0:
        text = f"{turned_away} connections were turned away since it started"
        findings.add("agent-turned-away", text)


def _offered(value: Any) -> list[Offered] | None:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return None
    return [
        Offered(
            one_line(str(each.get("chip", "")), 20).lower().replace("-", ""),
            one_line(str(each.get("project", "")), 40),
            one_line(str(each.get("version", "")), 40),
        )
        for each in value[:1000]
    ]
