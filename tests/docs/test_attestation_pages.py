"""docs/attestation-server.md and docs/provisioning.md, typed."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import world
from tests.dice_auth.boards import board
from tests.dice_auth.certificates import CertificateAuthority
from tests.dice_auth.redis_peer import RedisPeer
from tests.docs import chip_tools
from tests.docs.followed_page import Page, needs_a_shell, serve, terminal_in
from tests.ota_cli.configured import status
from tests.ports import free_port

pytestmark = needs_a_shell

SERVER = Page(
    "attestation-server.md",
    {
        "ota-service attest serve --registry sqlite:////var": "typed, with another folder",
        "(umask 077; ota-service attest token": "typed, with Redis and the policy below",
        "allow_mac_identity": "the policy of that server",
        "[applications.thermo]": "the policy of that server",
        "ota-service submit 24:0a": "typed",
        "redis-cli CONFIG": "typed",
        "rediss://": "a registry that is read",
        "tls-port": "the configuration of its Redis",
        "touch tokens": "typed",
        "ota-service attest serve --registry sqlite:///boards.db": "typed",
        "api=": "typed",
    },
)
PROVISIONING = Page(
    "provisioning.md",
    {
        "ota-service provision door-7 -o secrets": "typed; esptool on a flash file",
        "ota-service provision --csv": "typed",
        "ota-service revoke door-7": "typed",
        "ota-service provision door-7 -o replacement": "typed",
        "ota-service provision desk": "typed, the board asked for what it is",
    },
)
DOOR, OTHER = board(7), board(8)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisPeer]:
    peer = RedisPeer(tmp_path)
    peer.start()
    yield peer
    peer.stop()


def test_servers_begin_as_the_page_starts_them(tmp_path: Path, redis: RedisPeer) -> None:
    CertificateAuthority(tmp_path, "ca").issue("server")
    policy = SERVER.text("allow_mac_identity") + SERVER.text("[applications.thermo]")
    (tmp_path / "policy.toml").write_text(policy)
    with terminal_in(tmp_path) as terminal:
        serve(
            terminal,
            SERVER.text("ota-service attest serve --registry sqlite:////var",
                        {"/var/lib/ota/boards.db": f"{tmp_path}/boards.db --listen 127.0.0.1:0"}),
        )  # fmt: skip
        # Not beyond loopback, as on the page: what is given counts here too.
        serve(
            terminal,
            SERVER.text("(umask 077", {"redis://db": f"{redis.url} --listen 127.0.0.1:0"}),
        )
        port = terminal.log.rsplit(":", 1)[1].strip()
        url = f"https://127.0.0.1:{port}"
        terminal.run(
            f'curl -sf --cacert ca.pem -H "Authorization: Bearer $(cat tokens)" {url}/challenge'
            " | wc -c",
            "32",
        )
        terminal.run(SERVER.text("redis-cli", {"redis-cli": f"redis-cli -p {redis.port}"}), "OK")
    assert redis.run("CONFIG", "GET", "notify-keyspace-events") != {"notify-keyspace-events": ""}


def test_the_registry_is_kept_with_commands(tmp_path: Path) -> None:
    (tmp_path / "door-7.pem").write_text(DOOR.root_pem)
    rows = f'mac,application,labels\n{OTHER.board_id},thermo,"site=lab;hall=2"\n'
    (tmp_path / "batch.csv").write_text(rows)
    with terminal_in(tmp_path) as terminal:
        log = terminal.run(SERVER.text("ota-service submit 24:0a"), None)
        assert "door-7 removed" in log and "revoked" in log
        left = terminal.run("ota-service list", None)
    assert "24:0a:c4:12:34:56" in left and OTHER.board_id in left and "door-7" not in left


def test_redis_over_tls_is_set_up_as_the_page_says(tmp_path: Path) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    authority = CertificateAuthority(tmp_path, "ca")
    authority.issue("server")
    port = free_port()
    changes = {"6380": str(port), "/etc/redis": str(tmp_path)}
    peer = RedisPeer(tmp_path, "--include", tmp_path / "redis.conf", "--requirepass", "PASSWORD")
    options = SERVER.text("tls-port", changes)
    (tmp_path / "redis.conf").write_text(f"{options}tls-auth-clients no\n")
    url = SERVER.text(
        "rediss://",
        {"redis.example:6380": f"127.0.0.1:{port}", "dice-auth:": "default:",
         "/etc/dice-auth/redis-ca.pem": str(authority.certificate)},
    )  # fmt: skip
    (tmp_path / "registry").write_text(url)
    peer.start()
    try:
        with terminal_in(tmp_path) as terminal:
            terminal.run("export OTA_REGISTRY_FILE=registry; ota-service list", "no board ...")
    finally:
        peer.stop()


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here")
def test_the_admin_api_is_asked_with_curl(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "door-7.pem").write_text(DOOR.root_pem)
    (tmp_path / ".curlrc").write_text('silent\nwrite-out = "\\n%{http_code} %{header_json}\\n"\n')
    here = {":8000": f":{port}"}
    with terminal_in(tmp_path) as terminal:
        token, kept = terminal.run(SERVER.text("touch tokens"), None).splitlines()
        (tmp_path / "tokens").write_text(f"{kept}\n")
        serve(
            terminal, SERVER.text("ota-service attest serve --registry sqlite:///boards.db", here)
        )
        terminal.run(f"export CURL_HOME={tmp_path} TOKEN={token}", None)
        api = f"http://127.0.0.1:{port}/api/v1"
        # The revision on the page is another's: who reads it puts the board's own there.
        lines = SERVER.text("api=", here).splitlines(keepends=True)
        before = terminal.run("".join(lines[:5]), None)
        revision = re.findall(r'"revision": ?"([0-9a-f]{32})"', before)[-1]
        rest = "".join(lines[5:]).replace("0f343b0931126a20f133d67c2b018a3b", revision)
        after = terminal.run(rest, None)
    assert re.findall(r"^(\d{3}) \{", before, re.M) == ["201", "201", "200", "200"], before
    assert re.findall(r"^(\d{3}) \{", after, re.M) == ["200", "201", "204"], after
    assert api not in before and '"hall 2"' in after


def test_boards_are_provisioned_lost_and_replaced(tmp_path: Path, certs: Path) -> None:
    flash = tmp_path / "flash.bin"
    tools = chip_tools.install(tmp_path)
    flash.write_bytes(b"\xff" * chip_tools.FLASH_BYTES)
    (tmp_path / "boards.csv").write_text("id,application\nlot-1,thermo\nlot-2,thermo\n")
    (tmp_path / "thermo-1.0.0.bin").write_bytes(world.app("1.0.0", chip="esp32"))
    (tmp_path / "certs").symlink_to(certs)
    port = free_port()
    with terminal_in(tmp_path) as terminal:
        terminal.run(tools, None)
        terminal.run(PROVISIONING.text("ota-service provision door-7 -o secrets"), None)
        assert flash.read_bytes()[0x9000:0xA000] != b"\xff" * 0x1000
        assert not (tmp_path / "secrets/door-7-nvs.bin").exists()
        terminal.run(PROVISIONING.text("ota-service provision --csv"), None)
        assert len(list((tmp_path / "lot-7").iterdir())) == 5
        first = shown(terminal.run("ota-service show --json door-7", None))
        terminal.run(PROVISIONING.text("ota-service revoke door-7"), None)
        terminal.run(PROVISIONING.text("ota-service provision door-7 -o replacement"), None)
        second = shown(terminal.run("ota-service show --json door-7", None))
        assert (first["state"], second["state"]) == ("active", "active")
        assert first["key_id"] != second["key_id"]
        flash.unlink()
        on_laptop = {"ota-service board run": f"ota-service board run --http 127.0.0.1:{port}"}
        serve(terminal, PROVISIONING.text("ota-service provision desk", on_laptop))
        assert status(f"http://127.0.0.1:{port}")["identity"] == "provisioned"
        desk = shown(terminal.run("ota-service show --json desk", None))
        found = subprocess.run(
            ["curl", "-sf", f"http://127.0.0.1:{port}/onboard"], capture_output=True, check=True
        )
    assert bytes.fromhex(desk["key_id"]) in found.stdout


def shown(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `agent init certs` makes them."""
    from ota_cli.command_line import run

    folder = tmp_path_factory.mktemp("agent") / "certs"
    assert run(["agent", "init", str(folder)]) == 0
    return folder
