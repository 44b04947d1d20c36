"""Agent and attestation server know each other for challenges and evidence, or nothing is asked."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from ota_agent.attestation_access import read_access
from ota_agent.errors import SettingsError
from ota_agent.server import serve
from tests import world
from tests.ota_agent.attested_scene import HttpBoard, attested_scene
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.running_agent import IMAGE, running_agent, settings_for
from tests.ota_agent.scene import Scene

pytestmark = pytest.mark.usefixtures("quick_deadlines")
TOKEN = "0123456789abcdef-._~+/AZ=="


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    certificate, key = world.authority("attestation CA").issue("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "attestation-ca.pem"
    path.write_bytes(world.authority("attestation CA").ca_pem)
    return path


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_challenges_and_evidence_carry_the_token_and_certificates_do_not(
    tmp_path: Path, server_tls: ssl.SSLContext, ca: Path, token: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with attested_scene(
            tmp_path, tls=server_tls, attestation_ca=ca, attestation_token=token
        ) as here:
            found = await here.talk(lambda board: board.firmware(board.token()))
            assert found.body == IMAGE
            assert await here.update(board_certificate) == IMAGE
            challenge, attest, certificate = (head for head, _ in here.server.requests)
            line = f"\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
            assert line in challenge
            assert line in attest
            assert b"uthorization" not in certificate

    asyncio.run(run())


def test_a_server_that_another_ca_vouches_for_is_not_asked(
    tmp_path: Path, server_tls: ssl.SSLContext, ca: Path, token: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Even one that this machine trusts otherwise."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    other = tmp_path / "other-ca.pem"
    other.write_bytes(world.authority("another CA").ca_pem)

    async def run() -> None:
        async with attested_scene(
            tmp_path, tls=server_tls, attestation_ca=other, attestation_token=token
        ) as here:
            found = await here.talk(lambda board: board.ask("GET", "/v2/challenge"))
            assert found.status == 503
            assert here.server.requests == []
            line = await here.agent.next_session()
            assert line["outcome"] == "attestation-unavailable"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("http://attestation.example:8000", "--attestation-ca"),
        ("http://192.0.2.1", "--attestation-ca"),
        ("http://localhost.example", "--attestation-ca"),
        ("https://attestation.example", "--attestation-ca"),
    ],
)
def test_an_agent_that_could_not_trust_the_answers_serves_protocol_1_alone(
    tmp_path: Path, url: str, option: str
) -> None:
    """It says so at its start, and to boards that come again."""

    async def run() -> None:
        identity = make_identity(tmp_path / "identity")
        settings = settings_for(tmp_path, identity, url)
        async with running_agent(settings) as agent:
            here = Scene(agent, None, identity.certificate)  # type: ignore[arg-type]
            found = await here.board(lambda board: HttpBoard(board).ask("GET", "/v2/challenge"))
            assert (found.status, found.headers["retry-after"]) == (503, "10")
            line = await agent.next_session()
            assert option in line["reason"]
            assert line["outcome"] == "attestation-unavailable"
            here.close()
        settings = settings_for(tmp_path, identity, url, require_attestation=True)
        with pytest.raises(SettingsError, match=option):
            await serve(settings)

    asyncio.run(run())


@pytest.mark.parametrize("url", [
    "http://localhost:8000", "http://127.0.0.1", "http://127.9.9.9:1/x", "http://[::1]:8000",
])  # fmt: skip
def test_on_the_loopback_interface_plain_http_will_do(url: str) -> None:
    assert read_access(url, None, None, plain_http_allowed=False).refusal == ""


def test_plain_http_beyond_it_has_to_be_allowed(token: Path) -> None:
    access = read_access("http://192.0.2.1", None, token, plain_http_allowed=True)
    assert access.refusal == ""
    assert access.headers == f"Authorization: Bearer {TOKEN}\r\n"


def test_https_needs_both_a_ca_and_a_token(ca: Path, token: Path) -> None:
    url = "https://attestation.example"
    assert "--attestation-ca" in read_access(url, None, token, plain_http_allowed=True).refusal
    assert "--attestation-token" in read_access(url, ca, None, plain_http_allowed=True).refusal
    assert read_access(url, ca, token, plain_http_allowed=False).refusal == ""


def test_a_ca_is_no_use_without_https(ca: Path) -> None:
    with pytest.raises(SettingsError, match="is for https"):
        read_access("http://127.0.0.1", ca, None, plain_http_allowed=False)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_ca_file_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        read_access("https://a.example", path, None, plain_http_allowed=False)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o644])
def test_a_token_that_others_may_read_is_not_taken(token: Path, mode: int) -> None:
    token.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode 0{mode:o}, expected 0600"):
        read_access("http://127.0.0.1", None, token, plain_http_allowed=False)


@pytest.mark.parametrize(
    "content",
    [
        "", "\n", "short", "secret secret secret secret", "secret-secret-secret\nX: y",
        "secret-secret-secret\x00", "secret-secret-s\u00e9cret", "s" * 513, "s" * 5000,
    ],
)  # fmt: skip
def test_a_token_that_is_none_is_not_taken_and_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as raised:
        read_access("http://127.0.0.1", None, path, plain_http_allowed=False)
    assert str(path) in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_token_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("missing", "pipe", ""):
        with pytest.raises(SettingsError) as raised:
            read_access("http://127.0.0.1", None, tmp_path / name, plain_http_allowed=False)
        assert str(tmp_path / name) in str(raised.value)


def test_the_token_is_in_no_representation(token: Path) -> None:
    access = read_access("http://127.0.0.1", None, token, plain_http_allowed=False)
    assert TOKEN not in repr(access)
