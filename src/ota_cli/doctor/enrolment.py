"""Is this board enrolled? Asked of the attestation server, which says yes or no, and of the
registry, which also says why."""

import asyncio
from pathlib import Path

from dice import certificate as dice_certificate
from dice_auth.errors import DiceAuthError
from dice_auth.registry import BoardRecord
from dice_auth.registry_url import open_registry
from ota_cli.doctor import http
from ota_cli.doctor.attestation import SeenServer
from ota_cli.doctor.finding import Finding, Findings
from ota_cli.doctor.http import NoAnswer
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes
from ota_cli.registry import url_in

_DEADLINE_S = 3.0


def read_certificate(path: Path) -> tuple[list[Finding], bytes | None]:
    """A board's DICE certificate from a file, PEM or DER, as DER."""
    findings = Findings(f"certificate {path}")
    try:
        content = read_bytes(path, "certificate")
    except CommandError as error:
        findings.add("certificate-unreadable", str(error))
        return findings.found, None
    return findings.found, checked(content, "certificate-unreadable", findings)


def checked(content: bytes, code: str, findings: Findings) -> bytes | None:
    """DER of a board's certificate; None with a finding, of this code, if it is none."""
    try:
        if b"-----BEGIN" in content:
            content = dice_certificate.from_pem(content)
        parsed = dice_certificate.parse(content)
    except dice_certificate.CertificateError as error:
        findings.add(code, f"expected a DICE certificate, DER or PEM: {error}")
        return None
    if parsed.issuer == parsed.subject:
        findings.add("certificate-is-root", "expected a certificate by the root, found the root")
        return None
    return content


def ask_server(server: SeenServer, certificate: bytes, subject: str) -> list[Finding]:
    """POST the certificate, as an agent does for protocol 1; the server notes its verdict."""
    findings = Findings(subject)
    if server.place is None:
        return []
    body = dice_certificate.to_pem(certificate).encode()
    headers = {"Content-Type": "text/plain"}
    try:
        answer = http.ask(
            server.place, server.url, "" if server.url.path else "/", method="POST",
            headers=headers, body=body, tls=server.tls, deadline_s=_DEADLINE_S,
        )  # fmt: skip
    except NoAnswer as error:
        findings.add("attestation-failed", f"POST of the certificate: {error}")
        return findings.found
    if answer.status == 200:
        findings.add("board-enrolled", "the attestation server accepts its certificate")
    elif answer.status in (401, 403):
        text = f"expected 200, found {answer.status}: {answer.text()}"
        findings.add("board-not-accepted", text)
    else:
        text = f"POST of the certificate: expected 200, found {answer.status}: {answer.text()}"
        findings.add("attestation-failed", text)
    return findings.found


def read_registry_file(path: Path) -> tuple[list[Finding], str | None]:
    """The registry's URL from the file that OTA_REGISTRY_FILE names."""
    findings = Findings("registry")
    try:
        return [], url_in(path)
    except CommandError as error:
        findings.add("registry-unreachable", str(error))
        return findings.found, None


def ask_registry(
    url: str, board_id: str | None, certificate: bytes | None, subject: str
) -> list[Finding]:
    """By the board's id, else by the key that its certificate names as its issuer's."""
    findings = Findings(subject)
    key_id = None
    if certificate is not None:
        key_id = dice_certificate.parse(certificate).authority_key_id
    try:
        record = asyncio.run(_find(url, board_id, key_id))
    except TimeoutError:
        findings.add("registry-unreachable", f"no answer in {_DEADLINE_S:g} s")
        return findings.found
    except DiceAuthError as error:
        findings.add("registry-unreachable", str(error))
        return findings.found
    if board_id is None and certificate is None:
        return findings.found
    if record is None:
        what = f"id {board_id}" if board_id is not None else "the issuer of its certificate"
        findings.add("board-not-enrolled", f"the registry does not hold {what}")
        return findings.found
    if key_id is not None and record.key_id != key_id:
        text = f"enrolled as {record.board_id} with another root than its certificate names"
        findings.add("board-not-enrolled", text)
    _judge(record, findings)
    return findings.found


def _judge(record: BoardRecord, findings: Findings) -> None:
    if record.revocation is not None:
        text = f"{record.board_id} is revoked: {record.revocation.reason}"
        findings.add("board-revoked", text)
    elif (record.last_verdict or "accepted") != "accepted":
        findings.add("board-last-verdict", f"{record.board_id}: {record.last_verdict}")
    if findings.are_fine():
        findings.add("board-enrolled", f"in the registry as {record.board_id}")


async def _find(url: str, board_id: str | None, key_id: bytes | None) -> BoardRecord | None:
    async with asyncio.timeout(_DEADLINE_S), open_registry(url, create=False) as registry:
        await registry.check()
        if board_id is None and key_id is not None:
            root = await registry.root_by_key_id(key_id)
            board_id = root.board_id if root is not None else None
        return await registry.get(board_id) if board_id is not None else None
