"""What the units, the compose file, the manifests and the page of docs give the command, it has."""

import functools
import re
import subprocess

from tests.deploy import command_lines
from tests.deploy.documented import BIN
from tests.deploy.manifests import Manifests


@functools.cache
def options_of(command: tuple[str, ...]) -> frozenset[str]:
    done = subprocess.run(
        [BIN / "ota-service", *command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return frozenset(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", done.stdout, re.MULTILINE))


def unknown(arguments: list[str]) -> set[str]:
    """Options that the command does not have."""
    depth = {"attest": 2, "agent": 2 if arguments[1:2] == ["init"] else 1}.get(arguments[0], 1)
    given = {each.partition("=")[0] for each in arguments if each.startswith("--")}
    return given - options_of(tuple(arguments[:depth]))


def test_the_units_options_exist() -> None:
    lines = command_lines.of_units()
    assert len(lines) == 2
    assert {name: unknown(line) for name, line in lines.items() if unknown(line)} == {}


def test_the_compose_files_options_exist() -> None:
    lines = command_lines.of_compose("compose.yaml", "compose.admin.yaml")
    assert len(lines) == 2
    assert {name: unknown(line) for name, line in lines.items() if unknown(line)} == {}


def test_the_manifests_options_exist(manifests: Manifests) -> None:
    lines = command_lines.of_manifests(manifests)
    assert len(lines) == 2
    assert {name: unknown(line) for name, line in lines.items() if unknown(line)} == {}


def test_the_pages_options_exist() -> None:
    lines = command_lines.of_docs()
    assert len(lines) >= 6
    assert [line for line in lines if unknown(line)] == []
