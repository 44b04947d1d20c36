"""What the agent speaks: with forward secrecy and an AEAD, whatever of these a board has."""

import os
import ssl
from pathlib import Path

import pytest
from OpenSSL import SSL

from ota_agent.errors import CertificateError
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
