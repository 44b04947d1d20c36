"""`ota-service attest`: what cannot be is refused in one line before anything listens."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from dice_auth.admin_tokens import find_token, read_admin_tokens
from dice_auth.agent_access import read_tokens
from dice_auth.registry import Observation
from dice_auth.registry_url import open_registry
from ota_agent.attestation_access import read_access
from ota_cli.command_line import run
from tests.dice_auth.attesting import BOARD
from tests.ota_agent.conftest import make_identity


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def start(*options: str) -> str:
        arguments = ["attest", "serve", "--registry", f"sqlite:///{tmp_path}/r.db"]
        assert run([*arguments, "--listen", "127.0.0.1:0", *options]) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        return text

    return start


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_policy_with_a_mistake_is_named_with_its_line(  # type: ignore[no-untyped-def]
    refused, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[applications.thermo]\nimage_digests = ['abc']\n")
    text = refused("--policy", str(policy), *workers)
    assert f"--policy {policy}: line 2: applications.thermo.image_digests: expected 64" in text


@pytest.mark.parametrize("option", ["--policy", "--agent-tokens", "--admin-tokens"])
def test_a_file_that_is_not_there_is_named(refused, tmp_path: Path, option: str) -> None:  # type: ignore[no-untyped-def]
    text = refused(option, str(tmp_path / "missing"))
    assert f"{option} {tmp_path}/missing: No such file or directory" in text


def test_tokens_that_others_may_read_are_refused(refused, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdefghij\n")
    tokens.chmod(0o644)
    assert "mode 0644, expected 0600" in refused("--agent-tokens", str(tokens))


def test_half_a_tls_identity_is_none(refused, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    identity = make_identity(tmp_path / "identity")
    assert "belong together" in refused("--cert", str(identity.certificate))
    assert "--client-ca needs --cert" in refused("--client-ca", str(identity.certificate))


def test_a_rate_of_an_admin_api_that_is_not_there_is_none(refused) -> None:  # type: ignore[no-untyped-def]
    assert "--admin-rate needs --admin-tokens" in refused("--admin-rate", "5")
    assert "0.0 is not in the range" in refused("--admin-rate", "0")


def test_a_token_is_new_each_time_and_one_that_both_sides_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tokens = []
    for _ in range(3):
        assert run(["attest", "token"]) == 0
        tokens.append(capsys.readouterr().out)
    assert len(set(tokens)) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}\n", token) for token in tokens)
    path = tmp_path / "token"
    path.write_text(tokens[0])
    path.chmod(0o600)
    assert len(read_tokens(path)) == 1
    assert not read_access("http://127.0.0.1", None, path, plain_http_allowed=False).refusal


def test_an_admin_token_is_shown_once_with_the_line_for_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "admin-tokens"
    path.touch(0o600)
    given = {}
    for name, scope in (("ops", "write"), ("viewer", "read")):
        assert run(["attest", "token", "--scope", scope, "--name", name]) == 0
        token, line = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
        assert token not in line
        given[token] = name, scope
        with path.open("a") as file:
            file.write(f"{line}\n")
    tokens = read_admin_tokens(path)
    for token, (name, scope) in given.items():
        found = find_token(token.encode(), tokens)
        assert found is not None
        assert (found.name, found.scope) == (name, scope)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--scope", "read"), "--scope and --name belong together"),
        (("--name", "ops"), "--scope and --name belong together"),
        (("--scope", "admin", "--name", "ops"), "'admin' is not one of 'read', 'write'"),
        (("--scope", "read", "--name", "the ops"), "--name: 'the ops': expected 1 to 64 letters"),
        (("--scope", "read", "--name", ""), "--name: '': expected 1 to 64 letters"),
    ],
)
def test_half_an_admin_token_is_none(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], reason: str
) -> None:
    assert run(["attest", "token", *options]) == 2
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_admin_tokens_with_a_mistake_are_named_with_the_line(  # type: ignore[no-untyped-def]
    refused, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("# ours\nops write 1234\n")
    assert f"--admin-tokens {tokens}: line 2: expected NAME" in refused(
        "--admin-tokens", str(tokens), *workers
    )


def test_the_last_version_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/r.db"

    async def fill() -> None:
        async with open_registry(url) as registry:
            await registry.enrol(BOARD.board_id, BOARD.root)
            await registry.record([Observation(BOARD.board_id, "accepted", 1, 2, "1.2.3")])

    asyncio.run(fill())
    assert run(["list", "--json", "--registry", url]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["last_version"] == "1.2.3"
    assert run(["show", BOARD.board_id, "--registry", url]) == 0
    assert re.search(r"last version +1\.2\.3", capsys.readouterr().out)
