"""The attestation server as an OTA agent meets it. One challenge is used up, for a minute."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from ota_agent.attestation_access import Access, read_access
from ota_agent.errors import SettingsError
from ota_cli.doctor import http, ports
from ota_cli.doctor.agent_tls import speaks_tls
from ota_cli.doctor.certificates import certificates_in
from ota_cli.doctor.finding import Finding, Findings
from ota_cli.doctor.http import Answer, NoAnswer, Url
from ota_cli.doctor.ports import Place

_NONCE_BYTES = 32
_SOON = timedelta(days=30)
# x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, ..._HAS_EXPIRED; ..._HOSTNAME_MISMATCH, ..._IP_ADDRESS_
_DATES = (9, 10)
_NAMES = (62, 64)


@dataclass
class SeenServer:
    """place: None where nothing was reached. serves_protocol_2: None if that is not known. date:
    what its clock said, and ours then."""

    url: Url
    tls: ssl.SSLContext | None = None
    place: Place | None = None
    is_usable: bool = False
    serves_protocol_2: bool | None = None
    date: tuple[datetime, datetime] | None = None
    findings: list[Finding] = field(default_factory=list)


def look(url: Url, ca: Path | None, token: Path | None) -> SeenServer:
    findings = Findings(f"attestation server {url}")
    seen = SeenServer(url, findings=findings.found)
    try:
        access = read_access(str(url), ca, token, plain_http_allowed=False)
    except SettingsError as error:
        findings.add("attestation-files", str(error))
        return seen
    seen.tls = access.tls
    seen.place = ports.reach("attestation", url.host, url.port, findings)
    if seen.place is None:
        return seen
    try:
        answer = http.ask(seen.place, url, "/healthz", tls=access.tls, deadline_s=3)
    except NoAnswer as error:
        _explain(seen.place, url, error, findings)
        return seen
    seen.date = _date(answer)
    seen.is_usable = _judge_health(answer, seen.place, url, findings)
    _judge_dates(answer, findings)
    if seen.is_usable:
        seen.serves_protocol_2 = _ask_challenge(seen.place, url, access, findings)
    if findings.are_fine():
        findings.add("attestation-ok", "healthy, and gives challenges for protocol 2")
    return seen


def _explain(place: Place, url: Url, error: NoAnswer, findings: Findings) -> None:
    """Why there was no answer to HTTP or HTTPS."""
    if error.refused in _DATES:
        findings.add("attestation-cert-expired", f"its certificate: {error}")
    elif error.refused in _NAMES:
        findings.add("attestation-wrong-name", f"expected {url.host}: {error}")
    elif error.refused is not None:
        findings.add("attestation-untrusted", f"its certificate: {error}")
    elif url.scheme == "http" and speaks_tls(place, url.host):
        findings.add("attestation-wants-https", "expected plain HTTP, found TLS")
    elif url.scheme == "https" and _speaks_http(place, url):
        findings.add("attestation-wants-http", "expected TLS, found plain HTTP")
    else:
        findings.add("attestation-not-http", f"expected HTTP, found {error}")


def _speaks_http(place: Place, url: Url) -> bool:
    try:
        http.ask(place, Url("http", url.host, url.port, url.path), "/healthz", deadline_s=2)
    except NoAnswer:
        return False
    return True


def _judge_health(answer: Answer, place: Place, url: Url, findings: Findings) -> bool:
    """Whether it is worth while to go on asking."""
    fields = http.json_object(answer)
    if answer.status == 200 and fields is not None and "status" in fields:
        return True
    text = f"GET /healthz: expected 200, found {answer.status}: {answer.text()}"
    if answer.status == 503:
        findings.add("attestation-unhealthy", text)
    elif answer.status == 405 and "POST" in answer.text():
        findings.add("attestation-original", text)
        return True
    elif answer.status >= 500:
        findings.add("attestation-failed", text)
    elif answer.status == 400 and url.scheme == "http" and speaks_tls(place, url.host):
        findings.add("attestation-wants-https", "expected plain HTTP, found TLS")
    else:
        findings.add("attestation-not-attestation", text)
    return False


def _judge_dates(answer: Answer, findings: Findings) -> None:
    if answer.certificate is None:
        return
    try:
        ends = certificates_in(answer.certificate)[0].not_valid_after_utc
    except ValueError:
        return  # TLS has taken it
    if ends < datetime.now(UTC) + _SOON:
        findings.add("attestation-cert-expires-soon", f"valid until {ends:%Y-%m-%d} only")


def _ask_challenge(place: Place, url: Url, access: Access, findings: Findings) -> bool | None:
    """Whether agents get challenges. The token goes only where the agent would send it."""
    if access.refusal:
        findings.add("attestation-agent-refuses", access.refusal)
    name, _, value = access.headers.strip().partition(": ")
    headers = {name: value} if value and not access.refusal else {}
    try:
        answer = http.ask(place, url, "/challenge", headers=headers, tls=access.tls, deadline_s=3)
    except NoAnswer as error:
        findings.add("attestation-failed", f"GET /challenge: {error}")
        return None
    said = f"GET /challenge: expected 200, found {answer.status}: {_detail(answer)}"
    if answer.status == 200 and len(answer.body) == _NONCE_BYTES:
        return True
    if answer.status == 401 and headers:
        findings.add("attestation-token-refused", said)
    elif answer.status == 401:
        if not access.refusal:
            findings.add("attestation-token-missing", said)
        return True
    elif answer.status in (200, 403, 404, 405):
        findings.add("attestation-no-protocol-2", said)
        return False
    elif answer.status == 429:
        findings.add("attestation-full", said)
        return True
    elif answer.status == 503:
        findings.add("attestation-unhealthy", said)
    else:
        findings.add("attestation-failed", said)
    return None


def _detail(answer: Answer) -> str:
    """Of a problem document (RFC 9457), else the body."""
    fields = http.json_object(answer)
    detail = fields.get("detail") if fields is not None else None
    if isinstance(detail, str):
        return detail[:200]
    return answer.text() if answer.body.isascii() else f"{len(answer.body)} bytes"


def _date(answer: Answer) -> tuple[datetime, datetime] | None:
    try:
        said = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (said if said.tzinfo else said.replace(tzinfo=UTC)), datetime.now(UTC)
