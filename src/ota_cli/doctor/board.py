"""A board that runs: what it says at GET /info and GET /update, and its DICE certificate."""

from dataclasses import dataclass

from ota_cli.board_status import Status, WrongField, parse_info, parse_status
from ota_cli.doctor import http, ports
from ota_cli.doctor.board_errors import cure_for
from ota_cli.doctor.finding import Finding, Findings, one_line
from ota_cli.doctor.http import NoAnswer, Url
from ota_cli.doctor.ports import Place

_DEADLINE_S = 3.0
# No failure: the agent had nothing newer, or somebody cancelled.
_HARMLESS = ("up-to-date", "cancelled")


@dataclass
class SeenBoard:
    """What a board says of itself; empty where it does not. chip: as `esp32s3`. certificate: its
    DICE certificate, DER, if it was asked for and given. error_code: why its last update failed."""

    chip: str = ""
    application: str = ""
    version: str = ""
    protocol: int | None = None
    certificate: bytes | None = None
    error_code: str = ""


def look(url: Url, *, certificate: bool) -> tuple[list[Finding], SeenBoard | None]:
    """certificate: ask for it as well. The board is None where none answers."""
    findings = Findings(f"board {url}")
    place = ports.reach("board", url.host, url.port, findings)
    if place is None:
        return findings.found, None
    try:
        answer = http.ask(place, url, "/info", deadline_s=_DEADLINE_S)
    except NoAnswer as error:
        findings.add("board-not-http", f"GET /info: expected HTTP, found {error}")
        return findings.found, None
    fields = http.json_object(answer)
    if answer.status != 200 or fields is None:
        text = f"GET /info: expected 200 and JSON, found {answer.status}: {answer.text()}"
        findings.add("board-not-ota", text)
        return findings.found, None
    try:
        info = parse_info(fields)
    except WrongField as error:
        findings.add("board-not-ota", f"GET /info: {error}")
        return findings.found, None
    device = fields.get("device", "")
    seen = SeenBoard(_chip(device), info.application, info.version)
    status = _status(place, url, findings)
    if status is not None:
        seen.protocol = status[1]
        seen.error_code = _judge(status[0], findings)
    if not info.version or not info.application:
        missing = "version" if not info.version else "application"
        findings.add("board-no-version", f"GET /info: expected a {missing}, found none")
    if certificate:
        seen.certificate = _certificate(place, url, findings)
    if findings.are_fine() and status is not None:
        protocol = "" if seen.protocol is None else f", protocol {seen.protocol}"
        text = f"{seen.application} {seen.version} on {seen.chip or 'an unnamed chip'}"
        findings.add("board-ok", f"runs {text} in {status[0].running}, confirmed{protocol}")
    return findings.found, seen


def _chip(value: object) -> str:
    """As `esp32s3`, also where an original says ESP32-S3."""
    return one_line(value, 20).lower().replace("-", "") if isinstance(value, str) else ""


def _status(place: Place, url: Url, findings: Findings) -> tuple[Status, int | None] | None:
    """GET /update, and the protocol it names."""
    try:
        answer = http.ask(place, url, "/update", deadline_s=_DEADLINE_S)
        fields = http.json_object(answer)
        if answer.status == 200 and fields is not None:
            protocol = fields.get("protocol")
            known = protocol if protocol in (1, 2) and type(protocol) is int else None
            return parse_status(fields), known
        found = f"{answer.status}: {answer.text()}"
    except (NoAnswer, WrongField) as error:
        found = str(error)
    findings.add("board-no-status", f"GET /update: expected its status, found {found}")
    return None


def _judge(status: Status, findings: Findings) -> str:
    """The code of the last update's failure, empty without one."""
    if status.state not in ("idle", "failed"):
        findings.add("board-updating", f"state {status.state}, {status.received} bytes received")
    if not status.confirmed:
        text = f"the firmware in {status.running} has not confirmed itself"
        findings.add("board-not-confirmed", text)
    error = status.error
    if error is None or error.code in _HARMLESS:
        return ""
    findings.add("board-update-failed", f"the last update: {error}", cure_for(error.code))
    return error.code


def _certificate(place: Place, url: Url, findings: Findings) -> bytes | None:
    try:
        answer = http.ask(place, url, "/onboard", deadline_s=_DEADLINE_S)
    except NoAnswer as error:
        findings.add("board-no-certificate", f"GET /onboard: {error}")
        return None
    if answer.status != 200 or not answer.body:
        text = f"GET /onboard: expected a certificate, found {answer.status}: {answer.text()}"
        findings.add("board-no-certificate", text)
        return None
    return answer.body
