"""The command as a whole: its options, what it prints, how long it takes, its documentation."""

import importlib
import io
import json
import os
import pkgutil
import pty
import re
import subprocess
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import tests.ota_cli.doctor as this_folder
from ota_cli.command_line import run
from ota_cli.doctor.catalogue import CATALOGUE, OK, SECTIONS
from ota_cli.doctor.command import doctor as command
from tests import world
from tests.esp_image import signing
from tests.ota_cli import configured
from tests.ota_cli.doctor.peers import answers, full_port, silent, tcp_server
from tests.ota_cli.doctor.provoking import PROVOKED, doctor, provokes
from tests.ota_cli.processes import COMMAND, refused, server
from tests.ota_cli.strange_board import dribbling

DOCS = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_every_code_has_a_test_that_provokes_it() -> None:
    for module in pkgutil.iter_modules(this_folder.__path__):
        if module.name.startswith("test_"):
            importlib.import_module(f"{this_folder.__name__}.{module.name}")
    assert set(CATALOGUE) - PROVOKED == set()
    assert PROVOKED - set(CATALOGUE) == set()


def test_the_documentation_has_every_code_as_the_catalogue_has_it() -> None:
    text = DOCS.read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert {code: (level, meaning, cure) for code, level, meaning, cure in rows} == {
        code: (entry.level, entry.meaning, entry.cure or "-") for code, entry in CATALOGUE.items()
    }
    assert len(rows) == len(CATALOGUE)
    titles = [title for title in re.findall(r"^### (.*)$", text, re.MULTILINE) if title in SECTIONS]
    assert titles == list(SECTIONS)


def test_the_documentation_and_the_help_have_every_option() -> None:
    options = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)[^`]*` \|", DOCS.read_text())) == options
    assert all(getattr(parameter, "help", "") for parameter in command.params)


def test_every_cure_is_one_line_and_every_meaning_too() -> None:
    for code, entry in CATALOGUE.items():
        assert (entry.cure is None) == (entry.level == OK), code
        for text in (entry.meaning, entry.cure or "-"):
            assert text.isprintable() and "|" not in text and not text.endswith("."), code


def test_all_is_well_where_all_is_well(certs: Path, tmp_path: Path) -> None:
    """An agent, an attestation server, a provisioned board of protocol 2, the next firmware."""
    registry, key = f"sqlite:///{tmp_path}/boards.sqlite", tmp_path / "owner.pub"
    key.write_bytes(signing.public_pem(world.key("owner")))
    next_firmware, flash = tmp_path / "next.bin", tmp_path / "flash.bin"
    next_firmware.write_bytes(world.app("2.0.0"))
    (tmp_path / "app.bin").write_bytes(world.app("1.0.0"))
    for arguments in (
        ["provision", "door-7", "-o", f"{tmp_path}/secrets", "--registry", registry],
        ["board", "create", f"{flash}", "--app", f"{tmp_path}/app.bin", "--chip", world.CHIP,
         "--nvs", f"{tmp_path}/secrets/door-7-nvs.bin"],
    ):  # fmt: skip
        assert run(arguments) == 0
    settings = {"agent_ca": str(certs / "ca.der"), "identity": "provisioned"}
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as attestation,
        server(
            "agent", "--firmware", next_firmware, "--cert", certs / "agent.pem",
            "--key", certs / "agent.key", "--dice-auth-url", attestation,
            "--listen", "127.0.0.1:0",
        ) as agent,
        configured.board(tmp_path, "cpython", settings) as board,
    ):  # fmt: skip
        report = doctor(
            "--agent", agent, "--agent-cert", certs / "agent.pem", "--agent-key",
            certs / "agent.key", "--board", board, "--board-config", tmp_path / "board.json",
            "--flash", flash, "--firmware", next_firmware, "--trust", key,
            "--attestation", attestation, "--registry", registry, "--board-id", "door-7",
        )  # fmt: skip
        assert report.complaints == []
        assert report.exit_code == 0
        assert {"agent-ok", "agent-cert-ok", "agent-ca-ok", "agent-key-ok", "board-ok",
                "board-config-ok", "flash-ok", "firmware-ok", "firmware-fits", "attestation-ok",
                "board-enrolled", "clock-ok"} == set(report.codes)  # fmt: skip
        assert report.codes.count("board-enrolled") == 2
        assert "protocol 2" in report.message("board-ok")
        assert configured.status(board)["state"] == "idle"


def test_nothing_is_waited_for_longer_than_15_seconds() -> None:
    began = time.monotonic()
    with full_port() as full, tcp_server(silent) as mute, dribbling(b" ", 0.2) as slow:
        report = doctor(
            "--agent", mute, "--agent-admin", full, "--board", slow, "--attestation",
            f"http://{mute}", "--registry", f"redis://{mute}", "--board-id", "x",
        )  # fmt: skip
    assert time.monotonic() - began < 15
    assert report.complaints == [
        "agent-silent", "agent-admin-timeout", "board-not-http", "attestation-not-http",
        "registry-unreachable",
    ]  # fmt: skip


def shown(*arguments: Any) -> tuple[int, list[str]]:
    """What the command prints where there is no terminal, and its exit code."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = run(["doctor", *map(str, arguments)])
    return code, out.getvalue().splitlines()


def test_a_finding_is_one_line_with_its_cure_and_its_code(certs: Path, tmp_path: Path) -> None:
    code, lines = shown("--agent-ca", certs / "ca.key", "--firmware", tmp_path / "none.bin")
    assert code == 1
    assert len(lines) == 4
    assert lines[0].startswith("problem  CA ")
    assert f". Cure: {CATALOGUE['agent-ca-is-key'].cure} [agent-ca-is-key]" in lines[0]
    assert lines[-1] == "2 problems, 0 warnings, 1 fine"
    code, lines = shown("--agent-ca", certs / "ca.der")
    assert (code, lines[-1]) == (0, "all is well: 2 fine")


def on_a_terminal(columns: int, *arguments: Any, **environment: str) -> str:
    """What the command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **environment}
    process = subprocess.Popen([COMMAND, "doctor", *map(str, arguments)], stdout=theirs, env=env)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:
        pass  # Linux: the other end is closed
    os.close(ours)
    process.wait(30)
    return said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_gets_folded_lines_and_colour(columns: int, certs: Path) -> None:
    said = on_a_terminal(columns, "--agent-ca", certs / "ca.key", NO_COLOR="")
    assert "\x1b[1;31m" in said
    plain = on_a_terminal(columns, "--agent-ca", certs / "ca.key", NO_COLOR="1")
    assert "\x1b" not in plain.replace("\x1b[1m", "").replace("\x1b[0m", "")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
    assert max(map(len, lines)) <= columns
    label, *rest = lines[:-2]
    assert label.startswith("problem  ")
    assert all(line.startswith(" " * 9) for line in rest)
    assert "agent init" in " ".join(" ".join(lines).split())


def test_json_is_one_stable_document(tmp_path: Path) -> None:
    code, lines = shown("--firmware", tmp_path / "none.bin", "--json")
    document = json.loads("\n".join(lines))
    assert code == 1
    assert list(document) == ["problems", "warnings", "fine", "findings"]
    assert list(document["findings"][0]) == ["code", "level", "subject", "message", "cure"]
    assert document["findings"][0]["code"] == "firmware-unreadable"
    assert document["findings"][1]["cure"] is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--agent, --agent-ca"),
        (["--json"], "nothing to look at"),
        (["--agent-key", "x"], "--agent-cert"),
        (["--trust", "ab" * 32], "--firmware"),
        (["--certificate", "x"], "--registry or --attestation"),
        (["--board-id", "x"], "--registry"),
        (["--attestation-token", "x"], "--attestation"),
        (["--flash", "x", "--partitions", "y"], "either --flash or --partitions"),
        (["--agent", "a b"], "--agent"),
        (["--agent", "[::1]:99999"], "--agent"),
        (["--board", "http://"], "--board"),
        (["--board", "ftp://x"], "--board"),
        (["--attestation", "http://x:99999"], "--attestation"),
        (["--agent-admin", "http://\x1b/"], "--agent-admin"),
        (["--firmware", "oci://x/y:z"], "--firmware"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", *arguments]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert named in said.err


def test_a_private_key_is_not_taken_as_a_trusted_one(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(signing.private_pem(world.key("owner")))
    line = refused("doctor", "--firmware", "x", "--trust", tmp_path / "key.pem", code=2)
    assert "private key" in line


def test_passwords_in_a_url_are_not_shown() -> None:
    with tcp_server(answers("404 Not Found")) as address:
        code, lines = shown("--attestation", f"http://user:sesame@{address}/attest?token=sesame")
    assert code == 1
    assert "sesame" not in "\n".join(lines)
    assert f"http://{address}/attest" in lines[0]


def test_a_test_that_does_not_provoke_what_it_names_fails(certs: Path) -> None:
    @provokes("agent-ca-ok", "agent-ca-is-key")
    def provoking_half() -> None:
        doctor("--agent-ca", certs / "ca.der")

    with pytest.raises(AssertionError, match="not provoked: \\['agent-ca-is-key'\\]"):
        provoking_half()
