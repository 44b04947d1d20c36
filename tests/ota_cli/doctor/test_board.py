"""A board that runs, and what is no board."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ota_cli.doctor.board_errors import CURES, UNKNOWN, cure_for
from tests import world
from tests.ota_cli import configured
from tests.ota_cli.doctor.peers import answers, says, silent, tcp_server
from tests.ota_cli.doctor.provoking import doctor, provokes
from tests.ota_cli.processes import run
from tests.ota_cli.strange_board import STATUS, Script, board, dribbling
from tests.ports import free_port

DOCS = Path(__file__).parents[3] / "docs"


@provokes("board-ok", "board-update-failed")
def test_a_real_board_before_and_after_an_update_that_failed(tmp_path: Path) -> None:
    ca = tmp_path / "ca.der"
    ca.write_bytes(world.authority("test CA").ca)
    settings = {"agent_ca": str(ca), "attempts": 1, "retry_delay_s": 0}
    with configured.board(tmp_path, "cpython", settings) as url:
        report = doctor("--board", url)
        assert report.complaints == []
        assert "thermo 1.0.0 on esp32c6 in ota_0" in report.message("board-ok")
        run("update", url, "--agent", f"127.0.0.1:{free_port()}")
        configured.settled(url, configured.failed)
        report = doctor("--board", url.removeprefix("http://"))
    assert report.complaints == ["board-update-failed"]
    (finding,) = [each for each in report.findings if each.code == "board-update-failed"]
    assert "agent-unreachable" in finding.message
    assert finding.cure == cure_for("agent-unreachable")


def said(**status: Any) -> list[str]:
    """The complaints about a board whose GET /update differs so."""
    with board(Script(before={**STATUS, **status})) as url:
        return doctor("--board", url).complaints


@provokes("board-not-confirmed", "board-updating")
def test_a_board_that_is_at_something_else() -> None:
    assert said() == []
    assert said(confirmed=False) == ["board-not-confirmed"]
    assert said(state="receiving", received=4096) == ["board-updating"]


def test_what_is_no_failure_is_no_complaint() -> None:
    for code in ("up-to-date", "cancelled"):
        assert said(error={"code": code, "message": "nothing newer"}) == []


def test_a_boards_own_texts_send_nothing_to_the_terminal() -> None:
    error = {"code": "x\x1b[2J", "message": "\x1b]0;owned\x07" + "A" * 10_000}
    assert said(error=error) == ["board-update-failed"]


# Of provisioning and of making images: no update ends with them.
NOT_OF_AN_UPDATE = {
    "already-provisioned", "no-randomness", "nvs-write", "window-closed", "signed-image",
}  # fmt: skip


def documented_codes(section: str) -> set[str]:
    page = (DOCS / "reference" / "error-codes.md").read_text()
    part = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = "\n".join(line.split("|")[1] for line in part.splitlines() if line.startswith("| `"))
    return set(re.findall(r"`([a-z0-9.-]+)`", rows))


def test_every_error_code_of_a_board_has_a_cure_and_the_documentation_has_it() -> None:
    codes = documented_codes("The board") | documented_codes("Images")
    assert len(codes) > 60
    assert {code for code in codes if cure_for(code) == UNKNOWN} == NOT_OF_AN_UPDATE
    assert cure_for("segment-overlap") == cure_for("segment-")
    assert cure_for("code-of-tomorrow") == UNKNOWN
    known = [code for codes_of_one, _ in CURES for code in codes_of_one]
    assert len(known) == len(set(known))
    assert [
        code
        for code in known
        if not any(each == code or (code.endswith("-") and each.startswith(code)) for each in codes)
    ] == []
    documented = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|$", (DOCS / "doctor.md").read_text(), re.M)
    rows_here = {", ".join(f"`{code}`" for code in codes): cure for codes, cure in CURES}
    assert {codes: cure for codes, cure in documented if codes in rows_here} == rows_here


@provokes("board-no-status", "board-no-version")
def test_a_board_that_says_little() -> None:
    for before in (b"null", b"{", json.dumps({**STATUS, "received": "many"}).encode()):
        with board(Script(before=before)) as url:
            assert doctor("--board", url).complaints == ["board-no-status"]
    with tcp_server(answers("200 OK", json.dumps(STATUS).encode())) as address:
        assert doctor("--board", address).complaints == ["board-no-version"]


@provokes("board-not-ota")
def test_another_web_server_is_no_board() -> None:
    for serve in (
        answers("404 Not Found", b"<html>\x1b[31m"), answers("200 OK", b"<html>"),
        answers("302 Found", b"", "Location: http://example.com/"),
        answers("200 OK", b'{"application": 7}'), answers("200 OK", b"[" * 100_000),
    ):  # fmt: skip
        with tcp_server(serve) as address:
            assert doctor("--board", address).complaints == ["board-not-ota"]


@provokes("board-not-http")
def test_what_does_not_speak_http_is_no_board() -> None:
    for serve in (says(b"SSH-2.0-OpenSSH_9.6\r\n"), silent, answers("200 OK", b"x" * 300_000)):
        with tcp_server(serve) as address:
            assert doctor("--board", address).complaints == ["board-not-http"]
    with dribbling(b" ", 0.05) as url:
        assert doctor("--board", url).complaints == ["board-not-http"]


@provokes("board-no-certificate")
@pytest.mark.parametrize("body", [b"", b"rubbish"])
def test_a_board_without_a_certificate_cannot_be_looked_for(body: bytes, tmp_path: Path) -> None:
    info = {"device": "esp32", "application": "thermo", "version": "1", **STATUS}

    def serve(connection: Any) -> None:
        request = connection.recv(4096)
        content = body if b"/onboard" in request else json.dumps(info).encode()
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        connection.sendall(content)

    registry = tmp_path / "boards.sqlite"
    run("submit", "aa:bb:cc:dd:ee:ff", "--registry", f"sqlite:///{registry}")
    with tcp_server(serve) as address:
        report = doctor("--board", address, "--registry", f"sqlite:///{registry}")
    assert report.complaints == ["board-no-certificate"]
