"""The certificates of `agent init`: what stands in them, and whom they let in."""

import ipaddress
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from dice import server_certificate
from ota_agent import issuing
from ota_agent.errors import CertificateError
from ota_agent.issuing import Issued
from tests.peers import needs_openssl

EXPIRY = datetime(2040, 1, 1, tzinfo=UTC)
NAMES = ("updates.example.org", "192.0.2.10", "2001:db8::1")


def issue(
    kind: str = issuing.ECDSA, expiry: datetime = EXPIRY, names: tuple[str, ...] = NAMES
) -> tuple[Issued, Issued]:
    ca = issuing.make_ca(expiry, kind)
    return ca, issuing.make_server(ca, list(map(issuing.alternative_name, names)), expiry, kind)


@needs_openssl
@pytest.mark.parametrize("kind", [issuing.ECDSA, issuing.RSA])
def test_openssl_finds_the_chain_good(tmp_path: Path, kind: str) -> None:
    ca, agent = issue(kind)
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "agent.pem").write_bytes(agent.pem)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "agent.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["ota-agent", *NAMES])
def test_a_client_that_trusts_the_ca_takes_every_name(tmp_path: Path, name: str) -> None:
    ca, agent = issue()
    assert handshake(tmp_path, ca, agent, name) is None


@pytest.mark.parametrize("name", ["other.example.org", "192.0.2.11"])
def test_a_client_refuses_another_name(tmp_path: Path, name: str) -> None:
    ca, agent = issue()
    assert "match" in str(handshake(tmp_path, ca, agent, name))


def test_a_client_of_another_ca_refuses(tmp_path: Path) -> None:
    _, agent = issue()
    other, _ = issue()
    assert handshake(tmp_path, other, agent, "ota-agent") is not None


def handshake(folder: Path, ca: Issued, agent: Issued, name: str) -> ssl.SSLError | None:
    """In memory; the client's error."""
    (folder / "agent.pem").write_bytes(agent.pem)
    (folder / "agent.key").write_bytes(agent.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "agent.pem", folder / "agent.key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=ca.der)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return error
    return None


@pytest.mark.parametrize("year", [2040, 2060])
def test_a_board_without_a_clock_finds_them_valid(year: int) -> None:
    """By the reader that runs on the board; from 2050 on dates are written in another form."""
    for issued in issue(expiry=datetime(year, 1, 1, tzinfo=UTC)):
        parsed = server_certificate.parse(issued.der)
        assert tuple(parsed.not_before)[:3] == (2000, 1, 1)
        assert tuple(parsed.not_after)[:3] == (year, 1, 1)


def test_a_ca_signs_certificates_and_an_agent_does_not() -> None:
    ca, agent = issue()
    for issued, is_ca in ((ca, True), (agent, False)):
        extensions = issued.certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value.ca is is_ca
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.digital_signature) == (is_ca, not is_ca)


def test_the_names_come_back_once_each() -> None:
    _, agent = issue(names=("ota-agent", "a.example", "a.example"))
    assert [name.value for name in issuing.names_of(agent.certificate)] == [
        "ota-agent",
        "a.example",
    ]


def test_a_certificate_does_not_outlive_its_ca() -> None:
    ca, _ = issue()
    with pytest.raises(CertificateError, match="2040-01-02, after its CA"):
        issuing.make_server(ca, [], EXPIRY + timedelta(days=1))


def test_a_key_of_another_ca_is_refused() -> None:
    ca, other = issue()[0], issue()[0]
    with pytest.raises(CertificateError, match="not that of its certificate"):
        issuing.make_server(Issued(ca.certificate, other.key), [], EXPIRY)


@pytest.mark.parametrize(
    "text", ["", "bad_name", "-a", "a-", "a..b", "x" * 64, "a b", "1.2.3", "1.2.3.4.5", "ä"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a DNS name or an IP address"):
        issuing.alternative_name(text)


def test_an_address_is_no_dns_name() -> None:
    name = issuing.alternative_name("192.0.2.1")
    assert name.value == ipaddress.ip_address("192.0.2.1")
