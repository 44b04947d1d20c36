"""Every `ota-service` command line in `deploy` and docs/operations.md."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.documented import DEPLOY, blocks
from tests.deploy.manifests import Manifests

CONTAINER = DEPLOY / "container"
SYSTEMD = DEPLOY / "systemd"
_SECTIONS = ("Secrets first", "systemd", "Containers and compose", "Kubernetes")

CommandLine = list[str]


def of_units() -> dict[str, CommandLine]:
    return {file.name: _exec_start(file) for file in sorted(SYSTEMD.glob("*.service"))}


def _exec_start(unit: Path) -> CommandLine:
    text = unit.read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert program == "/opt/ota/bin/ota-service"
    return arguments


def compose(*names: str) -> dict[str, Any]:
    """Compose files, the later ones over the earlier, as far as ours need it."""
    services: dict[str, Any] = {}
    for name in names:
        for service, content in yaml.safe_load((CONTAINER / name).read_text())["services"].items():
            services.setdefault(service, {}).update(content)
    return services


def of_compose(*names: str) -> dict[str, CommandLine]:
    return {
        name: service["command"]
        for name, service in compose(*names).items()
        if service["command"][0] != "redis-server"
    }


def of_manifests(manifests: Manifests) -> dict[str, CommandLine]:
    return {
        container["name"]: container["args"]
        for _, container in manifests.containers()
        if container["name"] != "redis"
    }


def of_docs() -> list[CommandLine]:
    found = []
    for section in _SECTIONS:
        for block in blocks(section):
            for text in re.findall(
                r"ota-service ((?:[a-z].*?))(?: [<>]|\)|$)", block, re.MULTILINE
            ):
                found.append(shlex.split(text))
    return [each for each in found if each[0] != "/opt/ota"]
