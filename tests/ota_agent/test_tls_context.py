"""What the agent speaks: with forward secrecy and an AEAD, whatever of these a board has."""

import os
import ssl
from pathlib import Path

import pytest

from ota_agent.errors import CertificateError
from ota_agent.tls_context import server_context
from tests.ota_agent.conftest import Identity


def negotiated(identity: Identity, ciphers: str) -> str | None:
    """The TLS 1.2 suite with a client that offers these; None if there is none."""
    server = server_context(identity.certificate, identity.key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(identity.certificate)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    board = client.wrap_bio(to_client, to_server, server_hostname="ota-agent")
    agent = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (board, agent):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    cipher = agent.cipher()
    return cipher[0] if cipher else None


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


def test_a_pipe_is_no_certificate(tmp_path: Path, identity: Identity) -> None:

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CertificateError, match="pipe: not a regular file"):
        server_context(tmp_path / "pipe", identity.key)
