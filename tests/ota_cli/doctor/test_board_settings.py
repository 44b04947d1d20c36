"""The settings of a board, with and without an agent."""

import json
from pathlib import Path
from typing import Any

from tests.ota_cli.doctor.peers import Issuer, context_of, over_tls, tcp_server, write_identity
from tests.ota_cli.doctor.provoking import Report, doctor, each_provokes, provokes

KEY = "b4f1" * 16


def settings(folder: Path, certs: Path | None, **values: Any) -> Path:
    path = folder / "board.json"
    ca = {} if certs is None else {"agent_ca": str(certs / "ca.der")}
    path.write_text(json.dumps({**ca, **values}))
    return path


@provokes("board-config-ok", "agent-ca-ok")
def test_settings_as_the_guide_has_them_are_fine(certs: Path, tmp_path: Path) -> None:
    report = doctor("--board-config", settings(tmp_path, certs, project="thermo"))
    assert report.complaints == []


@each_provokes("values", {
    "board-config-invalid": {"polcy": "newer"},
    "board-insecure": {"allow_unsigned": True},
    "board-attestation-impossible": {"require_attestation": True},
})  # fmt: skip
def test_settings_that_are_wrong(code: str, values: Any, certs: Path, tmp_path: Path) -> None:
    assert doctor("--board-config", settings(tmp_path, certs, **values)).complaints == [code]


@provokes("board-no-agent-ca")
def test_settings_without_a_ca_refuse_every_update(tmp_path: Path) -> None:
    assert doctor("--board-config", settings(tmp_path, None)).complaints == ["board-no-agent-ca"]


@provokes("board-config-invalid")
def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    contents = (b"", b"[]", b"\xff\xfe", b"{" * 100_000, b'{"agent_ca": "none.der"}')
    for content in contents:
        path.write_bytes(content)
        assert doctor("--board-config", path).complaints == ["board-config-invalid"]
    assert "none.der" in doctor("--board-config", path).message("board-config-invalid")
    path.unlink()
    assert doctor("--board-config", path).complaints == ["board-config-invalid"]
    assert doctor("--board-config", tmp_path).complaints == ["board-config-invalid"]


def with_agent(folder: Path, path: Path) -> Report:
    with tcp_server(over_tls(context_of(folder))) as address:
        return doctor("--agent", address, "--board-config", path)


@provokes("board-agent-not-allowed")
def test_an_agent_beside_the_allow_list_is_found(certs: Path, tmp_path: Path) -> None:
    path = settings(tmp_path, certs, allowed_agents=["10.1.0.0/16", "agent.example"])
    assert with_agent(certs, path).complaints == ["board-agent-not-allowed"]
    path = settings(tmp_path, certs, allowed_agents=["127.0.0.0/8"])
    assert with_agent(certs, path).complaints == []


def test_ca_and_name_come_from_the_settings(certs: Path, tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "agent", Issuer(), names=("fleet.example",))
    path = settings(tmp_path, folder, agent_name="fleet.example")
    assert with_agent(folder, path).complaints == []
    assert with_agent(certs, path).complaints == ["agent-cert-wrong-name", "agent-unknown-issuer"]


def test_no_message_shows_the_trigger_key(certs: Path, tmp_path: Path) -> None:
    for key in (KEY, KEY + "0", [KEY]):
        report = doctor("--board-config", settings(tmp_path, certs, trigger_key=key))
        assert KEY not in " ".join(finding.message for finding in report.findings)
