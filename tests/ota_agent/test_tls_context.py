"""What the agent speaks: with forward secrecy and an AEAD, whatever of these a board has."""

import os
import ssl
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from OpenSSL import SSL

from ota_agent.errors import CertificateError
from ota_agent.issuing import key_pem
from ota_agent.tls_context import server_tls
from tests.ota_agent.conftest import Identity
from tests.ota_agent.in_memory import shake_hands


def negotiated(identity: Identity, ciphers: str) -> str | None:
    """The TLS 1.2 suite with a client that offers these; None if there is none."""
    server = server_tls(identity.certificate, identity.key).context
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(identity.certificate)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)
    try:
        return shake_hands(server, client)[0].get_cipher_name()
    except (ssl.SSLError, SSL.Error):
        return None


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ],
)
def test_a_board_with_one_modern_suite_is_served(identity: Identity, suite: str) -> None:
    assert negotiated(identity, suite) == suite


@pytest.mark.parametrize(
    "suite", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA"]
)
def test_without_forward_secrecy_or_an_aead_there_is_no_connection(
    identity: Identity, suite: str
) -> None:
    assert negotiated(identity, suite) is None


def test_of_all_suites_it_takes_what_the_esp32_has_in_hardware(identity: Identity) -> None:
    assert negotiated(identity, "ECDHE+AESGCM:ECDHE+CHACHA20") == "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("name", ["ota-agent", None])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_board_gets_no_ticket_and_no_session_to_resume(
    identity: Identity, version: ssl.TLSVersion, name: str | None
) -> None:
    """mbedTLS before 3.6.1 reports a ticket as an error; and of thousands of boards nothing is
    kept. name: the one that the board asks for."""
    server = server_tls(identity.certificate, identity.key).context
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(identity.certificate)
    client.minimum_version = client.maximum_version = version
    client.check_hostname = name is not None
    _, board = shake_hands(server, client, name)
    assert board.version() == version.name.replace("_", ".")
    with pytest.raises(ssl.SSLWantReadError):
        board.read(1)
    assert board.session is not None
    assert not board.session.has_ticket
    # In TLS 1.3 it is the board's own choice.
    assert version is ssl.TLSVersion.TLSv1_3 or board.session.id == b""


def test_a_pipe_is_no_certificate(tmp_path: Path, identity: Identity) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CertificateError, match="pipe: not a regular file"):
        server_tls(tmp_path / "pipe", identity.key)


PrivateKey = ec.EllipticCurvePrivateKey


def issued(name: str, key: PrivateKey, issuer: str, signer: PrivateKey) -> x509.Certificate:
    """Of a CA, and of an agent as well."""
    subject, signed_by = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, issuer)
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(2040, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def test_a_board_that_knows_the_root_alone_is_shown_the_certificate_between(
    tmp_path: Path,
) -> None:
    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = issued("root", root_key, "root", root_key)
    middle = issued("middle", middle_key, "root", root_key)
    leaf = issued("ota-agent", key, "middle", middle_key)
    (tmp_path / "agent.key").write_bytes(key_pem(key))
    client = ssl.create_default_context(cadata=pem(root).decode())
    for chain, is_whole in (((leaf, middle), True), ((leaf,), False)):
        (tmp_path / "agent.pem").write_bytes(pem(*chain))
        server = server_tls(tmp_path / "agent.pem", tmp_path / "agent.key")
        assert server.certificate == leaf.public_bytes(serialization.Encoding.DER)
        if is_whole:
            shake_hands(server.context, client)
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                shake_hands(server.context, client)


def test_a_key_as_openssl_writes_it_with_its_curve_before_it_is_read(
    tmp_path: Path, identity: Identity
) -> None:
    """`openssl ecparam -genkey` without -noout."""
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    identity.key.write_bytes(curve + identity.key.read_bytes())
    server_tls(identity.certificate, identity.key)


def test_a_key_that_cannot_sign_is_refused(tmp_path: Path, identity: Identity) -> None:
    private = x25519.X25519PrivateKey.generate()
    identity.key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(CertificateError, match=r"key\.pem: expected a key that can sign"):
        server_tls(identity.certificate, identity.key)
