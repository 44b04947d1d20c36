"""docs/updates.md: its commands are typed at boards that run, its Python runs on one."""

import contextlib
import io
import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from dice import certificate
from ota_service.config import Config, read_json
from tests import world
from tests.docs.followed_page import Page, needs_a_shell, serve, terminal_in
from tests.docs.terminals import Terminal
from tests.ota_agent.agent_process import attestation_server
from tests.ota_cli.configured import is_new, settled, status
from tests.ports import free_port

pytestmark = needs_a_shell

UPDATES = Page(
    "updates.md",
    {
        "from ota_service import provision": "on a virtual board",
        "openssl rand": "typed",
        "url=": "typed",
        "ota-service board run flash.bin --config": "typed",
        "{": "settings that are read",
    },
)


def make_board(folder: Path, terminal: Terminal, settings: dict[str, Any], http: int) -> str:
    """A flash file with thermo 1.0.0 and its settings; what to type to have it run."""
    (folder / "thermo-1.0.0.bin").write_bytes(world.app("1.0.0", chip="esp32"))
    (folder / "thermo-2.0.0.bin").write_bytes(world.app("2.0.0", chip="esp32"))
    (folder / "board.json").write_text(json.dumps(settings))
    terminal.run("ota-service board create flash.bin --app thermo-1.0.0.bin", None)
    return f"ota-service board run flash.bin --config board.json --http 127.0.0.1:{http}"


def test_on_a_board_provisioning_prints_the_root_certificate() -> None:
    printed = io.StringIO()
    board = world.board(world.app("1.0.0"))
    with contextlib.redirect_stdout(printed):
        exec(UPDATES.text("from ota_service import provision"), {"board": board})
    root = certificate.parse(certificate.from_pem(printed.getvalue().encode()))
    assert root.subject == root.issuer and "SHA-256" in printed.getvalue()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_a_board_with_a_trigger_key_is_updated_by_who_has_it(tmp_path: Path) -> None:
    http, port = free_port(), free_port()
    here = {"127.0.0.1:8032": f"127.0.0.1:{http}", "192.0.2.1": f"127.0.0.1:{port}"}
    key, update, cancel = UPDATES.text("openssl rand", here).splitlines(keepends=True)
    with attestation_server() as attestation, terminal_in(tmp_path) as terminal:
        terminal.run(key, None)
        settings = {
            "agent_ca": "certs/ca.der",
            "trigger_key": (tmp_path / "trigger.key").read_text().strip(),
        }
        run_board = make_board(tmp_path, terminal, settings, http)
        terminal.run("ota-service agent init certs", None)
        serve(
            terminal,
            "ota-service agent --cert certs/agent.pem --key certs/agent.key --admin off"
            f" --firmware thermo-2.0.0.bin --listen 127.0.0.1:{port} --dice-auth-url {attestation}",
        )
        serve(terminal, run_board)
        url = f"http://127.0.0.1:{http}"
        refused = httpx.post(f"{url}/update", content="ip: 127.0.0.1", trust_env=False)
        assert refused.status_code == 401
        with socket.create_server(("127.0.0.1", 0)) as silent:
            to_nobody = {**here, "192.0.2.1": f"127.0.0.1:{silent.getsockname()[1]}"}
            assert "About to update" in terminal.run(UPDATES.text("url=", to_nobody), None)
            terminal.run(cancel, None)
        settled(url, lambda found: bool(found["error"]) and found["error"]["code"] == "cancelled")
        terminal.run(update, None)
        assert is_new(status(url))


def test_insecure_mode_takes_the_image_from_whoever_sends_it(tmp_path: Path) -> None:
    http, raw = free_port(), free_port()
    here = {"127.0.0.1:8032": f"127.0.0.1:{http}", "127.0.0.1/3333": f"127.0.0.1/{raw}"}
    run_board, *send = UPDATES.text("ota-service board run flash.bin --config", here).splitlines(
        keepends=True
    )
    (settings,) = re.findall(r"# (\{.*\})", run_board)
    with terminal_in(tmp_path) as terminal:
        make_board(tmp_path, terminal, {**json.loads(settings), "insecure_port": raw}, http)
        serve(terminal, f"{run_board.partition('#')[0].strip()} --http 127.0.0.1:{http}")
        # Not a second's sleep but until it listens, however busy this machine is.
        trigger, sleep, cat = send
        assert sleep.startswith("sleep 1 ")
        terminal.run(f"{trigger}until {cat.partition('#')[0]}; do :; done", None)
        settled(f"http://127.0.0.1:{http}", is_new)


def test_the_settings_are_settings(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(world.authority("test CA").ca_pem)
    text = UPDATES.text("{", {"b4f1...64 hex digits...": "b4f1" * 16})
    (tmp_path / "board.json").write_text(text)
    config = Config(read_json(str(tmp_path / "board.json")))
    assert (config.project, config.pause_after) == ("thermo", 5)
