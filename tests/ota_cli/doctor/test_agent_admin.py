"""The agent's admin port, by answers as docs/agent.md has them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ota_cli import strange_board
from tests.ota_cli.doctor.peers import answers, says, tcp_server
from tests.ota_cli.doctor.provoking import doctor, each_provokes, provokes

FIRMWARE = {
    "chip": "ESP32", "project": "thermo", "version": "2.0.0", "bytes": 1, "sha256": "00",
    "is_default": True,
}  # fmt: skip


@contextmanager
def admin_port(
    *, status: int = 200, firmware: Any = (FIRMWARE,), turned_away: int = 0, **agent: Any
) -> Iterator[str]:
    """Its URL."""
    health = {"status": "ok" if status == 200 else "finishing"}
    sessions = {
        "agent": {"workers": 3, "workers_missing": 0, "is_finishing": False, **agent},
        "firmware": firmware, "totals": {"turned_away": turned_away}, "count": 0, "sessions": [],
    }  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_health = self.path == "/healthz"
            body = json.dumps(health if is_health else sessions).encode()
            self.send_response(status if is_health else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with strange_board.serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


@provokes("agent-admin-ok")
def test_an_agent_that_serves_is_fine_by_url_address_and_port() -> None:
    with admin_port() as url:
        for given in (url, url.removeprefix("http://"), url.rpartition(":")[2]):
            report = doctor("--agent-admin", given)
            assert report.complaints == []
    assert "thermo 2.0.0" in report.message("agent-admin-ok")


@each_provokes("options", {
    "agent-finishing": {"status": 503},
    "agent-workers-missing": {"workers_missing": 1},
    "agent-serves-nothing": {"firmware": []},
    "agent-turned-away": {"turned_away": 7},
    "agent-admin-not-agent": {"firmware": "thermo"},
})  # fmt: skip
def test_what_an_agent_says_of_itself(code: str, options: dict[str, Any]) -> None:
    with admin_port(**options) as url:
        assert doctor("--agent-admin", url).complaints == [code]


@provokes("agent-admin-not-agent")
def test_something_else_at_the_admin_port_is_told() -> None:
    for serve in (says(b"SSH-2.0-x\r\n"), answers("404 Not Found"), answers("200 OK", b"[]")):
        with tcp_server(serve) as address:
            assert doctor("--agent-admin", address).complaints == ["agent-admin-not-agent"]


@provokes("agent-lacks-firmware")
def test_an_agent_without_firmware_for_the_board_is_found() -> None:
    with (
        strange_board.board(strange_board.Script(strange_board.STATUS)) as board,
        admin_port(firmware=[{**FIRMWARE, "project": "lamp"}]) as lamps,
    ):
        # The board there says no chip; then nothing is concluded.
        assert doctor("--agent-admin", lamps, "--board", board).complaints == []
    info = json.dumps({"device": "ESP32", "application": "thermo", "version": "1"}).encode()
    with (
        tcp_server(answers("200 OK", info)) as board,
        admin_port(firmware=[{**FIRMWARE, "project": "lamp"}]) as lamps,
        admin_port() as right,
    ):
        assert "agent-lacks-firmware" in doctor("--agent-admin", lamps, "--board", board).codes
        assert "agent-lacks-firmware" not in doctor("--agent-admin", right, "--board", board).codes
