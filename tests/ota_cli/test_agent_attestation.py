"""How `ota-service agent` is told to ask about evidence: what cannot be is refused in one line."""

import os
from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.images import signed_image


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    identity = make_identity(tmp_path / "identity")
    (tmp_path / "firmware.bin").write_bytes(signed_image())
    return [
        "agent", "--firmware", str(tmp_path / "firmware.bin"),
        "--cert", str(identity.certificate), "--key", str(identity.key),
        "--listen", "127.0.0.1:0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("http://192.0.2.1", "--attestation-plain-http"),
        ("https://192.0.2.1", "--attestation-ca"),
    ],
)
def test_protocol_2_alone_needs_a_server_that_can_be_trusted(
    arguments: list[str], capsys: pytest.CaptureFixture[str], url: str, option: str
) -> None:
    assert run([*arguments, "--dice-auth-url", url, "--require-attestation"]) == 2
    text = capsys.readouterr().err
    assert option in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("option", ["--attestation-ca", "--attestation-token"])
def test_a_file_that_is_not_there_is_named(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    missing = str(tmp_path / "missing")
    assert run([*arguments, "--dice-auth-url", "https://192.0.2.1", option, missing]) == 2
    text = capsys.readouterr().err
    assert option in text
    assert missing in text
    assert text.count("\n") == 1


def test_a_token_for_everybody_is_refused_and_not_shown(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret-secret-secret")
    token.chmod(0o644)
    url = "http://127.0.0.1:9"
    assert run([*arguments, "--dice-auth-url", url, "--attestation-token", str(token)]) == 2
    text = capsys.readouterr().err
    assert "expected 0600" in text
    assert "secret" not in text


def test_a_client_certificate_that_cannot_be_used_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = (make_identity(tmp_path / name) for name in ("own", "other"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    tls = ["--dice-auth-url", "https://192.0.2.1", "--attestation-ca", str(own.certificate)]
    plain = ["--dice-auth-url", "http://127.0.0.1:9"]
    for where, certificate, key, expected in (
        (tls, own.certificate, other.key, "KEY_VALUES_MISMATCH"),
        (tls, own.key, own.key, "expected a PEM certificate"),
        (tls, tmp_path / "missing", own.key, "--attestation-cert"),
        (tls, own.certificate, pipe, "not a regular file"),
        (tls, own.certificate, None, "belong together"),
        (plain, own.certificate, own.key, "--attestation-ca"),
    ):
        more = ["--attestation-cert", str(certificate)]
        more += ["--attestation-key", str(key)] if key is not None else []
        assert run([*arguments, *where, *more]) == 2
        text = capsys.readouterr().err
        assert expected in text
        assert text.count("\n") == 1
