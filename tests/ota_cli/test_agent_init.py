"""`agent init` and `agent renew` as a person runs them."""

import json
import os
from pathlib import Path

import pytest
from cryptography import x509

from tests.ota_cli.processes import done, refused

FILES = {"ca.key", "ca.pem", "ca.der", "agent.key", "agent.pem"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_init_makes_five_files_and_says_where_each_belongs(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "certs"
    said = done("agent", "init", folder, "--name", "updates.example.org")
    assert set(content(folder)) == FILES
    for word in ("ota-agent, updates.example.org", "ca.der", "agent_ca", "offline", "expires"):
        assert word in said
    assert "PRIVATE" not in said


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    done("agent", "init", tmp_path)
    done("agent", "renew", tmp_path)
    for name in FILES:
        mode = os.stat(tmp_path / name).st_mode & 0o777
        assert mode == (0o600 if name.endswith(".key") else 0o644)


@pytest.mark.parametrize("name", sorted(FILES))
def test_init_never_overwrites(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert f"{name} is there already" in refused("agent", "init", tmp_path)
    assert content(tmp_path) == {name: b"mine"}


def test_init_leaves_nothing_behind_where_it_cannot_write(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "not a directory" in refused("agent", "init", file / "certs").lower()


def test_renew_keeps_the_ca_and_the_names_and_changes_the_key(tmp_path: Path) -> None:
    done("agent", "init", tmp_path, "--name", "192.0.2.10")
    before = content(tmp_path)
    said = json.loads(done("agent", "renew", tmp_path, "--days", 30, "--json"))
    after = content(tmp_path)
    assert said["names"] == ["ota-agent", "192.0.2.10"]
    assert {name for name in FILES if before[name] != after[name]} == {"agent.key", "agent.pem"}
    ca = x509.load_pem_x509_certificate(after["ca.pem"])
    x509.load_pem_x509_certificate(after["agent.pem"]).verify_directly_issued_by(ca)


def test_renew_needs_the_ca_and_its_own_key(tmp_path: Path) -> None:
    assert "ca.pem: no such file" in refused("agent", "renew", tmp_path)
    done("agent", "init", tmp_path / "a")
    done("agent", "init", tmp_path / "b")
    os.replace(tmp_path / "b" / "ca.key", tmp_path / "a" / "ca.key")
    before = content(tmp_path / "a")
    assert "not that of its certificate" in refused("agent", "renew", tmp_path / "a")
    assert content(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--days", 0), "--days"),
        (("--days", 8000), "outlive"),
        (("--days", 10**9), "year 10000"),
        (("--name", "no name"), "'no name'"),
        (("--key-type", "dsa"), "dsa"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    tmp_path: Path, arguments: tuple[object, ...], word: str
) -> None:
    assert word in refused("agent", "init", tmp_path / "certs", *arguments, code=2)
    assert not (tmp_path / "certs").exists()
