"""The agent's files on disk, and the CA for boards."""

import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ota_cli.doctor.agent import judge_chain
from ota_cli.doctor.certificates import certificates_in, judge_ca
from ota_cli.doctor.finding import Findings
from tests.ota_cli.doctor.peers import (
    NOW,
    Issuer,
    context_of,
    over_tls,
    tcp_server,
    write_identity,
)
from tests.ota_cli.doctor.provoking import doctor, doctor_at, each_provokes, provokes
from tests.peers import needs_openssl


@provokes("agent-key-ok", "agent-cert-ok")
def test_the_files_of_agent_init_are_fine(certs: Path) -> None:
    report = doctor(
        "--agent-cert", certs / "agent.pem", "--agent-key", certs / "agent.key",
        "--agent-ca", certs / "ca.der",
    )  # fmt: skip
    assert report.complaints == []


@each_provokes("content", {
    "agent-cert-unreadable": b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n",
})  # fmt: skip
def test_a_certificate_file_that_is_none(code: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "agent.pem"
    assert doctor("--agent-cert", path).complaints == [code]
    for each in (content, b"", b"\xff" * 100):
        path.write_bytes(each)
        assert doctor("--agent-cert", path).complaints == [code]


def test_a_certificate_in_der_is_refused_as_the_agent_refuses_it(certs: Path) -> None:
    assert doctor("--agent-cert", certs / "ca.der").complaints == ["agent-cert-unreadable"]


@provokes("agent-key-mismatch", "agent-key-open", "agent-key-unreadable")
def test_what_is_wrong_with_the_key(certs: Path, tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "other", Issuer())
    pem, key = certs / "agent.pem", folder / "agent.key"

    def complaints() -> list[str]:
        return doctor("--agent-cert", pem, "--agent-key", key).complaints

    assert complaints() == ["agent-key-mismatch"]
    key.write_bytes((certs / "agent.key").read_bytes())
    assert complaints() == []
    key.chmod(0o644)
    assert complaints() == ["agent-key-open"]
    key.write_bytes(pem.read_bytes())
    assert complaints() == ["agent-key-unreadable"]
    key.unlink()
    assert complaints() == ["agent-key-unreadable"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own a file as root")
def test_a_key_of_root_may_be_read_by_a_group_as_the_units_have_it(
    certs: Path, tmp_path: Path
) -> None:
    key = tmp_path / "agent.key"
    key.write_bytes((certs / "agent.key").read_bytes())
    for owner, mode, expected in (
        (0, 0o640, []),
        (0, 0o660, ["agent-key-open"]),
        (65534, 0o640, ["agent-key-open"]),
    ):
        os.chown(key, owner, -1)
        key.chmod(mode)
        report = doctor("--agent-cert", certs / "agent.pem", "--agent-key", key)
        assert report.complaints == expected, (owner, mode)


@needs_openssl
@provokes("agent-key-unreadable")
def test_a_key_with_a_password_is_named_as_such(certs: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", certs / "agent.key", "-aes256", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", locked], check=True)
    report = doctor("--agent-cert", certs / "agent.pem", "--agent-key", locked)
    assert report.complaints == ["agent-key-unreadable"]
    assert "password" in report.message("agent-key-unreadable")


@needs_openssl
@provokes("agent-cert-weak-hash")
def test_a_certificate_over_sha1_is_found(tmp_path: Path) -> None:
    pem, key = tmp_path / "agent.pem", tmp_path / "agent.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-days", "3000",
         "-subj", "/CN=ota-agent", "-addext", "subjectAltName=DNS:ota-agent", "-keyout", key,
         "-out", pem], check=True, capture_output=True,
    )  # fmt: skip
    assert "agent-cert-weak-hash" in doctor("--agent-cert", pem).complaints


@provokes("agent-other-certificate")
def test_an_agent_that_still_shows_another_certificate_is_found(tmp_path: Path) -> None:
    ca = Issuer()
    shown, renewed = (write_identity(tmp_path / name, ca) for name in ("shown", "renewed"))
    with tcp_server(over_tls(context_of(shown))) as address:
        agent = ("--agent", address, "--agent-ca", shown / "ca.der")
        assert doctor(*agent, "--agent-cert", shown / "agent.pem").complaints == []
        report = doctor(*agent, "--agent-cert", renewed / "agent.pem")
    assert report.complaints == ["agent-other-certificate"]


@provokes("agent-ca-unreadable", "agent-ca-is-key")
def test_a_ca_file_that_is_none(certs: Path, tmp_path: Path) -> None:
    path = tmp_path / "ca.der"
    assert doctor("--agent-ca", path).complaints == ["agent-ca-unreadable"]
    path.write_bytes(b"")
    assert "empty" in doctor("--agent-ca", path).message("agent-ca-unreadable")
    path.write_bytes((certs / "ca.der").read_bytes()[:-7])
    assert doctor("--agent-ca", path).complaints == ["agent-ca-unreadable"]
    assert doctor("--agent-ca", certs / "ca.key").complaints == ["agent-ca-is-key"]


@provokes("agent-ca-not-ca")
def test_the_agents_own_certificate_is_no_ca(certs: Path) -> None:
    report = doctor("--agent-ca", certs / "agent.pem")
    assert report.complaints == ["agent-ca-not-ca"]


@each_provokes("options", {
    "agent-ca-expired": {"end": NOW - timedelta(days=1)},
    "agent-ca-expires-soon": {"end": NOW + timedelta(days=179)},
    "agent-ca-not-from-2000": {"begin": NOW - timedelta(days=1)},
})  # fmt: skip
def test_the_dates_of_the_ca(code: str, options: dict[str, datetime], tmp_path: Path) -> None:
    path = tmp_path / "ca.der"
    path.write_bytes(Issuer(**options).der)
    assert doctor("--agent-ca", path).complaints == [code]


def test_a_machine_that_stands_in_1999_says_that_of_its_certificates(certs: Path) -> None:
    report = doctor_at(datetime(1999, 1, 1), agent_cert=certs / "agent.pem")
    assert report.complaints == ["agent-cert-not-yet-valid", "clock-wrong"]


def test_no_message_shows_a_key(certs: Path) -> None:
    report = doctor(
        "--agent-cert", certs / "agent.key", "--agent-key", certs / "agent.key",
        "--agent-ca", certs / "ca.key",
    )  # fmt: skip
    secret = (certs / "agent.key").read_text() + (certs / "ca.key").read_text()
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]
    said = " ".join(finding.message for finding in report.findings)
    assert not [line for line in lines if line in said]


def test_several_cas_for_the_change_from_one_to_the_next(tmp_path: Path) -> None:
    old, new = Issuer("old"), Issuer("new")
    folder = write_identity(tmp_path / "agent", new, ec.generate_private_key(ec.SECP384R1()))
    both = tmp_path / "both.pem"
    both.write_bytes(old.pem + new.pem)
    assert doctor("--agent-cert", folder / "agent.pem", "--agent-ca", both).complaints == []


def test_a_damaged_certificate_is_a_finding_whatever_the_damage(tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "agent", Issuer())
    whole = x509.load_pem_x509_certificate((folder / "agent.pem").read_bytes())
    der = whole.public_bytes(serialization.Encoding.DER)
    ca = [x509.load_der_x509_certificate((folder / "ca.der").read_bytes())]
    judged = 0
    for at in range(len(der)):
        for flip in (0x01, 0x10, 0x80):
            damaged = der[:at] + bytes([der[at] ^ flip]) + der[at + 1 :]
            findings = Findings("certificate")
            try:
                chain = certificates_in(damaged)
            except ValueError:
                continue
            judge_chain(chain, "ota-agent", ca, NOW, findings)
            judge_ca(chain[0], NOW, findings)
            assert findings.found, (at, flip)
            judged += 1
    assert judged > 100
