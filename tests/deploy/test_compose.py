"""The compose file: taken by docker-compose, and its parts fit together."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.command_lines import compose
from tests.deploy.documented import DEPLOY

FILES = ("compose.yaml", "compose.admin.yaml")


def config(tree: Path, *files: str) -> dict[str, Any]:
    """What docker-compose makes of them."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    options = [word for file in files for word in ("-f", file)]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [program, *options, "config"],
        cwd=tree / "deploy" / "container",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    result: dict[str, Any] = yaml.safe_load(done.stdout)
    return result


@pytest.mark.parametrize("files", [FILES[:1], FILES])
def test_docker_compose_takes_it(tree: Path, files: tuple[str, ...]) -> None:
    made = config(tree, *files)
    assert made["services"].keys() == {"redis-service", "dice-auth-service", "ota-agent-service"}
    for secret in made["secrets"].values():
        assert Path(secret["file"]).is_file()
    for service in made["services"].values():
        for volume in service.get("volumes", ()):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("/") and not source.endswith("/firmware"):
                assert Path(source).is_file(), source


@pytest.mark.parametrize("files", [FILES[:1], FILES])
def test_every_file_an_argument_names_is_a_secret_of_its_service(files: tuple[str, ...]) -> None:
    for service in compose(*files).values():
        named = [word for word in service["command"] if "/run/secrets/" in word]
        named += service.get("environment", {}).values()
        secrets = {word.rpartition("/")[2] for word in named}
        assert secrets == set(service.get("secrets", ()))


def test_only_boards_come_in_from_outside() -> None:
    assert {
        name: service["ports"] for name, service in compose("compose.yaml").items()
        if "ports" in service
    } == {"ota-agent-service": ["4433:4433"]}  # fmt: skip
    admin = compose(*FILES)["dice-auth-service"]["ports"]
    assert admin == ["127.0.0.1:8000:8000"]


def test_services_share_just_the_networks_they_need(tree: Path) -> None:
    made = config(tree, "compose.yaml")
    members: dict[str, set[str]] = {}
    for name, service in made["services"].items():
        for network in service["networks"]:
            members.setdefault(network, set()).add(name)
    assert members == {
        "registry": {"redis-service", "dice-auth-service"},
        "attestation": {"dice-auth-service", "ota-agent-service"},
        "boards": {"ota-agent-service"},
    }
    for name in ("registry", "attestation"):
        assert made["networks"][name]["internal"] is True


def test_no_service_has_more_rights_than_it_needs(tree: Path) -> None:
    for service in config(tree, *FILES)["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] in ("redis", "10001:10001")
        assert "mem_limit" in service
        assert "healthcheck" in service


def test_the_override_changes_nothing_but_the_admin_api() -> None:
    plain, both = compose("compose.yaml"), compose(*FILES)
    before, after = (each["dice-auth-service"]["command"] for each in (plain, both))
    assert [word for word in after if "admin-tokens" not in word] == before
    assert (DEPLOY / "container" / "compose.admin.yaml").is_file()


def test_a_container_has_the_time_that_its_server_takes_to_end() -> None:
    agent = compose("compose.yaml")["ota-agent-service"]
    (option,) = (word for word in agent["command"] if "--shutdown-deadline" in word)
    assert int(agent["stop_grace_period"].rstrip("s")) >= int(option.partition("=")[2]) + 10
