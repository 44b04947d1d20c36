"""Whether a board is enrolled: asked of server and registry."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ota_cli.command_line import run
from tests import world
from tests.dice_auth.boards import board as dice_board
from tests.ota_cli import configured
from tests.ota_cli.doctor.peers import answers, tcp_server
from tests.ota_cli.doctor.provoking import doctor, provokes
from tests.ota_cli.doctor.test_attestation import HEALTHY, by_path
from tests.ota_cli.processes import server
from tests.ota_cli.strange_board import STATUS
from tests.ports import free_port

BOARD, OTHER = dice_board(1), dice_board(2)


@pytest.fixture
def registry(tmp_path: Path) -> str:
    """The URL of a registry that holds BOARD."""
    url = f"sqlite:///{tmp_path}/boards.sqlite"
    assert run(["submit", BOARD.board_id, "--registry", url]) == 0
    return url


def certificate(folder: Path, content: bytes | str) -> Path:
    path = folder / "board.der"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def running_board(onboard: bytes, **status: Any) -> Iterator[str]:
    """The address of one that gives this certificate."""
    said = {"device": "esp32", "application": "a", "version": "1", **STATUS, **status}

    def serve(connection: Any) -> None:
        body = onboard if b"/onboard" in connection.recv(4096) else json.dumps(said).encode()
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with tcp_server(serve) as address:
        yield address


@provokes("board-enrolled", "board-not-enrolled", "board-not-accepted", "board-revoked")
def test_a_board_before_and_after_it_is_revoked(registry: str, tmp_path: Path) -> None:
    with server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as url:
        where = ("--registry", registry, "--attestation", url)
        for content in (BOARD.certificate, BOARD.pem):
            report = doctor(*where, "--certificate", certificate(tmp_path, content))
            assert report.complaints == []
            assert report.codes.count("board-enrolled") == 2
        other = doctor(*where, "--certificate", certificate(tmp_path, OTHER.certificate))
        assert other.complaints == ["board-not-accepted", "board-not-enrolled"]
        assert run(["revoke", BOARD.board_id, "--reason", "lost", "--registry", registry]) == 0
        report = doctor(*where, "--certificate", certificate(tmp_path, BOARD.certificate))
    assert report.complaints == ["board-not-accepted", "board-revoked"]
    assert "lost" in report.message("board-revoked")


def test_a_running_board_is_asked_for_its_certificate(tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    settings = {"agent_ca": str(certificate(tmp_path, world.authority("test CA").ca))}
    with configured.board(tmp_path, "cpython", settings) as url:
        assert run(["submit", "aa:bb:cc:dd:ee:ff", "--registry", registry]) == 0
        where = ("--board", url, "--registry", registry)
        assert doctor(*where).complaints == ["board-not-enrolled"]
        assert run(["submit", configured.MAC, "--registry", registry]) == 0
        assert doctor(*where).complaints == []


@provokes("board-enrolled", "board-not-enrolled")
def test_a_board_is_found_by_its_id(registry: str, tmp_path: Path) -> None:
    def said(*options: Any) -> list[str]:
        return doctor("--registry", registry, *options).complaints

    assert said("--board-id", BOARD.board_id) == []
    assert said("--board-id", OTHER.board_id) == ["board-not-enrolled"]
    file = certificate(tmp_path, OTHER.certificate)
    report = doctor("--registry", registry, "--board-id", BOARD.board_id, "--certificate", file)
    assert report.complaints == ["board-not-enrolled"]
    assert "another root" in report.message("board-not-enrolled")
    assert said() == []


@provokes("board-last-verdict")
def test_the_last_verdict_is_told(registry: str) -> None:
    import asyncio

    from dice_auth.registry import Observation
    from dice_auth.registry_url import open_registry

    async def refuse() -> None:
        async with open_registry(registry) as boards:
            await boards.record([Observation(BOARD.board_id, "refused: version", None, None)])

    asyncio.run(refuse())
    report = doctor("--registry", registry, "--board-id", BOARD.board_id)
    assert report.complaints == ["board-last-verdict"]
    assert "version" in report.message("board-last-verdict")


@provokes("certificate-unreadable", "certificate-is-root")
def test_a_file_that_is_no_boards_certificate(registry: str, tmp_path: Path) -> None:
    def said(path: Path) -> list[str]:
        return doctor("--registry", registry, "--certificate", path).complaints

    assert said(tmp_path / "none.der") == ["certificate-unreadable"]
    for content in (b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\n"):
        assert said(certificate(tmp_path, content)) == ["certificate-unreadable"]
    assert said(certificate(tmp_path, BOARD.root)) == ["certificate-is-root"]


@provokes("registry-unreachable")
def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/none", f"redis://:secret@127.0.0.1:{free_port()}", "x://y"):
        report = doctor("--registry", url)
        assert report.complaints == ["registry-unreachable"]
        assert "secret" not in report.message("registry-unreachable")


@provokes("board-enrolled", "board-not-enrolled")
def test_the_registry_is_found_by_the_file_with_its_url(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "registry"
    file.write_text(registry + "\n")
    monkeypatch.setenv("OTA_REGISTRY_FILE", str(file))
    assert doctor("--board-id", BOARD.board_id).codes == ["board-enrolled", "clock-ok"]
    other = certificate(tmp_path, OTHER.certificate)
    assert doctor("--certificate", other).complaints == ["board-not-enrolled"]
    assert doctor().complaints == []
    file.write_text(f"sqlite:///{tmp_path}/none")
    assert doctor("--registry", registry, "--board-id", BOARD.board_id).complaints == []
    with running_board(BOARD.certificate) as board:
        file.write_text(registry)
        assert "board-enrolled" in doctor("--board", board).codes


@provokes("registry-unreachable")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "OTA_REGISTRY_FILE {file}: no such file or directory"),
        ("", "OTA_REGISTRY_FILE {file}: expected one line, the registry's URL"),
        ("redis://:secret@a redis://b", "OTA_REGISTRY_FILE {file}: expected one line"),
        ("redis://:secret@127.0.0.1:{port}", "Redis at 127.0.0.1:{port}: "),
        ("x://:secret@y", "registry 'x://y': expected sqlite:///PATH"),
    ],
)
def test_a_file_for_the_url_that_will_not_do(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding among the others, in the words of the other commands."""
    file, port = tmp_path / "registry", free_port()
    if content is not None:
        file.write_text(content.format(port=port))
    monkeypatch.setenv("OTA_REGISTRY_FILE", str(file))
    report = doctor("--agent-ca", tmp_path / "none.der", "--board-id", BOARD.board_id)
    assert report.complaints == ["agent-ca-unreadable", "registry-unreachable"]
    message = report.message("registry-unreachable")
    assert message.startswith(said.format(file=file, port=port)) and "secret" not in message


@provokes("board-needs-protocol-2")
def test_a_board_of_protocol_2_and_a_server_without_it() -> None:
    attestation = by_path(health=HEALTHY, challenge=answers("404 Not Found"))
    with (
        running_board(BOARD.certificate, protocol=2) as board,
        tcp_server(attestation) as server_address,
    ):
        report = doctor("--board", board, "--attestation", server_address)
    assert "board-needs-protocol-2" in report.complaints


@provokes("attestation-failed")
def test_a_server_that_gives_no_verdict_is_no_refusal(tmp_path: Path) -> None:
    strange = by_path(health=HEALTHY, challenge=answers("418 Teapot"))
    file = certificate(tmp_path, BOARD.certificate)
    with tcp_server(strange) as address:
        report = doctor("--attestation", address, "--certificate", file)
    assert set(report.complaints) == {"attestation-failed"}
