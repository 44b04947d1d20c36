"""The registry's commands as they are typed, on both registries."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.dice_auth.boards import board
from tests.dice_auth.conftest import redis_peer, redis_process, registry_url, sqlite_url
from tests.dice_auth.redis_peer import RedisPeer

__all__ = ["redis_peer", "redis_process", "registry_url", "sqlite_url"]

FIRST, SECOND = board(1), board(2)


class Registry:
    """Runs commands on one registry."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys

    def done(self, *arguments: object) -> str:
        assert run([*map(str, arguments), "--registry", self.url]) == 0
        return self._capsys.readouterr().out

    def refused(self, *arguments: object, code: int = 1) -> str:
        assert run([*map(str, arguments), "--registry", self.url]) == code
        text = self._capsys.readouterr().err
        assert text.count("\n") == 1, text
        return text

    def listed(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.done("list", "--json"))
        return found


@pytest.fixture
def registry(registry_url: str, capsys: pytest.CaptureFixture[str]) -> Registry:
    return Registry(registry_url, capsys)


def test_a_board_is_enrolled_shown_revoked_and_reinstated(registry: Registry) -> None:
    mac = FIRST.board_id
    more = ("--application", "thermo", "--label", "site=lab", "--label", "line=3")
    assert registry.done("submit", mac, *more) == f"{mac} enrolled\n"
    assert registry.done("submit", mac) == f"{mac} was enrolled already\n"
    shown = json.loads(registry.done("show", mac, "--json"))
    assert shown["key_id"] == FIRST.key_id.hex()
    assert shown["root"] == FIRST.root_pem
    assert (shown["state"], shown["application"]) == ("active", "thermo")
    assert shown["labels"] == {"site": "lab", "line": "3"}
    assert "site=lab, line=3" in registry.done("show", mac)

    assert registry.done("revoke", mac, "--reason", "stolen on site") == f"{mac} revoked\n"
    (listed,) = registry.listed()
    assert (listed["state"], listed["reason"]) == ("revoked", "stolen on site")
    assert "revoked" in registry.done("list")
    assert "stolen on site" in registry.refused("submit", mac)
    assert registry.done("revoke", mac, "--undo") == f"the revocation of {mac} is taken back\n"
    assert "is not revoked" in registry.refused("revoke", mac, "--undo")
    assert registry.done("del", mac) == f"{mac} removed\n"
    for command in (["del"], ["show"], ["revoke", "--reason", "x"]):
        assert "is not enrolled" in registry.refused(*command, mac)


@pytest.mark.parametrize("form", ["pem", "der", "base64"])
def test_a_board_is_enrolled_by_its_root_certificate(
    form: str, registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "root"
    content = {
        "pem": FIRST.root_pem.encode(),
        "der": FIRST.root,
        "base64": b64encode(FIRST.root) + b"\n",
    }
    file.write_bytes(content[form])
    assert registry.done("submit", "front door", "--root", file) == "front door enrolled\n"
    assert json.loads(registry.done("show", "front door", "--json"))["root"] == FIRST.root_pem
    file.write_bytes(SECOND.root)
    assert "another root" in registry.refused("submit", "front door", "--root", file)
    registry.done("submit", "front door", "--root", file, "--replace")
    assert json.loads(registry.done("show", "front door", "--json"))["root"] == SECOND.root_pem


def test_what_is_no_root_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.done("submit", SECOND.board_id)
    file = tmp_path / "cert.pem"
    file.write_text(FIRST.pem)
    assert "not a root" in registry.refused("submit", "door", "--root", file, code=2)
    file.write_bytes(b"\x30\x82\x00\x00")
    assert "root certificate of door" in registry.refused("submit", "door", "--root", file, code=2)
    file.write_text("hello")
    assert "expected PEM or base64" in registry.refused("submit", "door", "--root", file, code=2)
    missing = tmp_path / "missing.pem"
    assert "no such file" in registry.refused("submit", "door", "--root", missing)
    assert len(registry.listed()) == 1


def test_a_batch_is_enrolled_and_a_wrong_one_leaves_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "batch.csv"
    file.write_text(f"mac,labels\n{FIRST.board_id},line=1\n{SECOND.board_id},line=2\nzz:zz,\n")
    assert f"{file} line 4: MAC address 'zz:zz'" in registry.refused(
        "submit", "--csv", file, code=2
    )
    assert registry.listed() == []
    file.write_text(f"mac,labels\n{FIRST.board_id},line=1\n{SECOND.board_id},line=2\n")
    assert registry.done("submit", "--csv", file) == "2 boards enrolled\n"
    assert registry.done("submit", "--csv", file) == "0 boards enrolled, 2 as before\n"
    assert {each["id"] for each in registry.listed()} == {FIRST.board_id, SECOND.board_id}
    assert "no such file" in registry.refused("submit", "--csv", tmp_path / "missing.csv")
    assert "is a directory" in registry.refused("submit", "--csv", tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"], ["submit", "zz:zz"], ["submit", "00:00:00:00:00:0"],
        ["submit", FIRST.board_id, "--csv", "b.csv"],
        ["submit", "--csv", "b.csv", "--label", "a=1"], ["submit", FIRST.board_id, "--label", "a"],
        ["submit", FIRST.board_id, "--label", "=a"],
        ["submit", FIRST.board_id, "--label", "a=1", "--label", "a=2"],
        ["submit", FIRST.board_id, "--application", "a\nb"],
        ["revoke", FIRST.board_id], ["revoke", FIRST.board_id, "--reason", ""],
        ["revoke", FIRST.board_id, "--reason", "a\nb"],
        ["revoke", FIRST.board_id, "--reason", "x" * 201],
        ["revoke", FIRST.board_id, "--reason", "x", "--undo"],
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_and_changes_nothing(
    arguments: list[str], registry: Registry
) -> None:
    registry.done("submit", SECOND.board_id)
    registry.refused(*arguments, code=2)
    (left,) = registry.listed()
    assert (left["id"], left["state"], left["labels"]) == (SECOND.board_id, "active", {})


def test_what_the_c_tools_write_is_listed_and_their_odd_keys_reach_no_terminal(
    redis_peer: RedisPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    redis_peer.run("HSET", "zz:zz", "root_cert", FIRST.root_pem)
    redis_peer.run("HSET", "\x1b[31m", "root_cert", SECOND.root_pem)
    registry = Registry(redis_peer.url, capsys)
    assert [each["id"] for each in registry.listed()] == ["zz:zz"]
    assert "\x1b" not in registry.done("list")
    assert registry.done("del", "zz:zz") == "zz:zz removed\n"
    assert registry.done("list").startswith("no board is enrolled; ")


def test_an_unreachable_registry_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["show", "x"], ["del", "x"], ["submit", FIRST.board_id]):
        assert run([*command, "--registry", "redis://127.0.0.1:1"]) == 1
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        assert "Redis at 127.0.0.1:1" in text
