"""The agent: its port, the certificate it shows, the files on its disk, and the CA for boards."""

import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ota_cli.doctor import agent_tls, ports
from ota_cli.doctor.certificates import (
    certificates_in,
    judge_ca,
    judge_dates,
    judge_dates_between,
    judge_issuer,
    judge_leaf,
    name_of,
)
from ota_cli.doctor.finding import Finding, Findings
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes

_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# root may let the agent's group read (docs/operations.md).
_FOR_OTHERS_OF_ROOT = _FOR_OTHERS & ~stat.S_IRGRP


def read_ca(content: bytes, findings: Findings) -> list[x509.Certificate]:
    """The certificates of a CA file; none, with a finding, if it holds none."""
    if b"PRIVATE KEY" in content:
        findings.add("agent-ca-is-key", "expected a certificate, found a private key")
        return []
    try:
        return certificates_in(content)
    except ValueError:
        found = "an empty file" if not content.strip() else "something else"
        findings.add("agent-ca-unreadable", f"expected a certificate, DER or PEM, found {found}")
        return []


def look_at_ca(cas: Sequence[x509.Certificate], now: datetime, findings: Findings) -> None:
    for ca in cas:
        judge_ca(ca, now, findings)
    if cas and findings.are_fine():
        ends = min(ca.not_valid_after_utc for ca in cas)
        names = ", ".join(name_of(ca) for ca in cas)
        findings.add("agent-ca-ok", f"{names}, valid until {ends:%Y-%m-%d}")


def look_at_port(
    host: str, port: int, name: str, cas: Sequence[x509.Certificate], now: datetime
) -> tuple[list[Finding], x509.Certificate | None]:
    """The agent's port and what it shows there; its own certificate, if it shows one.

    name: what boards ask for. cas: the CAs on the board, none if they are not known.
    """
    findings = Findings(f"agent {host}:{port}")
    place = ports.reach("agent", host, port, findings)
    served = agent_tls.look(place, name, findings) if place is not None else None
    if served is None:
        return findings.found, None
    certificate = Findings(f"certificate of agent {host}:{port}")
    judge_chain(served.chain, name, cas, now, certificate)
    if cas and certificate.are_fine():
        reason = agent_tls.verify(served, name, cas)
        if reason:
            certificate.add("agent-not-trusted", f"OpenSSL refuses it: {reason}")
    _conclude(served.chain[0], name, cas, certificate)
    return findings.found + certificate.found, served.chain[0]


def judge_chain(
    chain: Sequence[x509.Certificate],
    name: str,
    cas: Sequence[x509.Certificate],
    now: datetime,
    findings: Findings,
) -> None:
    judge_dates(chain[0], now, findings)
    judge_dates_between(chain, now, findings)
    judge_leaf(chain[0], name, findings)
    if cas:
        judge_issuer(chain, cas, findings)


def look_at_files(
    certificate: Path,
    key: Path | None,
    shown: x509.Certificate | None,
    name: str,
    cas: Sequence[x509.Certificate],
    now: datetime,
) -> list[Finding]:
    """The agent's certificate file and its key. shown: what the running agent shows, if that is
    known; then the same certificate is not judged twice."""
    findings = Findings(f"certificate {certificate}")
    try:
        content = read_bytes(certificate, "certificate")
        if b"-----BEGIN CERTIFICATE" not in content:
            raise ValueError("no PEM")
        chain = certificates_in(content)
    except CommandError as error:
        findings.add("agent-cert-unreadable", str(error))
        return findings.found
    except ValueError:
        findings.add("agent-cert-unreadable", "expected a certificate, PEM, found something else")
        return findings.found
    if shown is None or shown != chain[0]:
        if shown is not None:
            text = f"the agent shows serial {shown.serial_number:x}, the file holds"
            findings.add("agent-other-certificate", f"{text} {chain[0].serial_number:x}")
        judge_chain(chain, name, cas, now, findings)
        _conclude(chain[0], name, cas, findings)
    if key is None:
        return findings.found
    return findings.found + _look_at_key(key, certificate, chain[0])


def _look_at_key(
    path: Path, certificate_path: Path, certificate: x509.Certificate
) -> list[Finding]:
    """The key's content is a secret: no message shows any of it."""
    findings = Findings(f"key {path}")
    try:
        content = read_bytes(path, "key")
        status = path.stat()
    except (CommandError, OSError) as error:
        findings.add("agent-key-unreadable", str(error))
        return findings.found
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        findings.add("agent-key-unreadable", "expected an unencrypted key, found one with password")
        return findings.found
    except (ValueError, UnsupportedAlgorithm):
        findings.add("agent-key-unreadable", "expected a private key, PEM, found something else")
        return findings.found
    if not _belongs(key, certificate):
        findings.add("agent-key-mismatch", f"expected the key of {certificate_path}, found another")
    for_others = _FOR_OTHERS if status.st_uid else _FOR_OTHERS_OF_ROOT
    if stat.S_ISREG(status.st_mode) and status.st_mode & for_others:
        text = f"expected mode 0600, found {stat.S_IMODE(status.st_mode):04o}"
        findings.add("agent-key-open", text)
    if findings.are_fine():
        findings.add("agent-key-ok", f"the key of {certificate_path}")
    return findings.found


def _belongs(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    try:
        return key.public_key() == certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _conclude(
    leaf: x509.Certificate, name: str, cas: Sequence[x509.Certificate], findings: Findings
) -> None:
    if findings.are_fine():
        by = "by the CA on the board" if cas else "not held against a CA (--agent-ca)"
        text = f"for {name}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}, {by}"
        findings.add("agent-cert-ok", text)
