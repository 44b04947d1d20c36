"""Two attestation servers on one Redis and two agents, started as the units start them, with the
secrets and the Redis of `deploy`."""

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.deploy.documented import BIN
from tests.deploy.installed import Redis, Server, install, unit
from tests.deploy.unit_filter import LIBRARY
from tests.ports import free_port


def _events(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def _has_library() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


pytestmark = [
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="redis-server is not installed"
    ),
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed"),
    pytest.mark.skipif(not _has_library(), reason="libseccomp2 is not installed"),
]


class Fleet:
    """clone: with secrets, firmware and `root`, where all is installed."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.root = clone / "root"
        self.environment = {
            **os.environ, "OTA_REGISTRY_FILE": str(self.root / "etc/dice-auth/registry")
        }  # fmt: skip

    def command(self, *words: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            [BIN / "ota-service", *words], cwd=self.clone, env=self.environment, text=True,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def board(self, name: str) -> Iterator[str]:
        """A provisioned board that runs 1.0.0; where it listens."""
        self.command("provision", name, "-o", "made")
        flash = self.clone / f"{name}.bin"
        self.command("board", "create", flash, "--app", "thermo-1.0.0.bin",
                     "--nvs", f"made/{name}-nvs.bin")  # fmt: skip
        port = free_port()
        with subprocess.Popen(
            [BIN / "ota-service", "board", "run", flash, "--http", f"127.0.0.1:{port}",
             "--identity", "provisioned", "--agent-ca", "secrets/agent/ca.pem"],
            cwd=self.clone, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                assert process.stdout.readline()
                yield f"http://127.0.0.1:{port}"
            finally:
                process.kill()

    def update(self, board: str, agent: Server, code: int = 0) -> str:
        return self.command("update", board, "--agent", f"127.0.0.1:{agent.port}", code=code)


@pytest.fixture
def fleet(tree: Path, tmp_path: Path) -> Fleet:
    shutil.copytree(tree, tmp_path, dirs_exist_ok=True)
    fleet = Fleet(tmp_path)
    for version in ("1.0.0", "2.0.0"):
        fleet.command(
            "image", "build", "-o", "app.bin", "--version", version, "--project", "thermo"
        )
        fleet.command(
            "image", "sign", "app.bin", "--key", "sign.pem", "-o", f"thermo-{version}.bin"
        )
    install(tmp_path, fleet.root)
    return fleet


def test_boards_are_updated_through_any_agent_and_any_server_and_stay_revoked_if_redis_is_killed(
    fleet: Fleet,
) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(
            Redis(fleet.root / "var", fleet.clone / "secrets" / "users.acl")
        )
        url = (fleet.clone / "secrets" / "registry").read_text()
        registry = fleet.root / "etc/dice-auth/registry"
        registry.write_text(url.replace("redis-service:6379", f"127.0.0.1:{redis.port}"))
        servers = [stack.enter_context(unit("dice-auth", fleet.root)) for _ in range(2)]
        agents = [
            stack.enter_context(
                unit("ota-agent", fleet.root, DICE_AUTH_URL=f"https://127.0.0.1:{each.port}")
            )
            for each in servers
        ]
        boards = [stack.enter_context(fleet.board(name)) for name in ("door-1", "door-2")]
        for board, agent in zip(boards, agents, strict=True):
            assert "runs thermo 2.0.0 in ota_1, confirmed" in fleet.update(board, agent)
        fleet.command("revoke", "door-1", "--reason", "stolen")
        redis.kill()
        redis.__enter__()
        for agent in agents:
            assert "not allowed: revoked" in fleet.update(boards[0], agent, code=1)
        fleet.update(boards[1], agents[0])
    accepted = [_events(server.log).count("attested") for server in servers]
    assert accepted == [2, 1]
    assert not [server for server in servers if "permission" in server.log.read_text()]


def test_the_registrys_user_of_redis_cannot_destroy_it_and_strangers_cannot_come_in(
    tree: Path, tmp_path: Path
) -> None:
    def ask(*words: str) -> str:
        done = subprocess.run(
            ["redis-cli", "-p", str(redis.port), "--no-auth-warning", *words],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        return done.stdout + done.stderr

    secrets = tree / "secrets"
    password = (secrets / "registry").read_text().split(":")[2].partition("@")[0]
    ours = ("--user", "dice-auth", "--pass", password)
    with Redis(tmp_path, secrets / "users.acl") as redis:
        assert "NOAUTH" in ask("ping")
        assert "PONG" in ask("-e", "--user", "probe", "--pass", "probe", "ping")
        assert "NOPERM" in ask("--user", "probe", "--pass", "probe", "get", "x")
        for words in ("flushall", "flushdb", "shutdown", "config set appendonly no", "acl list"):
            assert "NOPERM" in ask(*ours, *words.split()), words
        for name, value in (
            ("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"),
        ):  # fmt: skip
            assert value in ask(*ours, "config", "get", name)
        assert set(ask(*ours, "config", "get", "notify-keyspace-events").split()[1]) == set("Kgh")
