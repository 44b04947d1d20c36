"""An agent whose firmware is in a registry, as a person starts it."""

import json
from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.ota_agent.images import app
from tests.ota_agent.registry_peer import RegistryPeer, image
from tests.ota_cli.processes import run as run_process
from tests.ota_cli.processes import server
from tests.ota_cli.test_agent_catalogue import agent_arguments


def test_it_is_served_from_the_registry_and_then_from_the_cache(tmp_path: Path) -> None:
    arguments = agent_arguments(tmp_path)
    with RegistryPeer(tmp_path / "registry") as registry:
        registry.push(image("esp32", app()))
        arguments += [registry.reference(), "--cache", tmp_path / "cache"]
        with server(*arguments) as address:
            assert address.startswith("127.0.0.1:")
    with server(*arguments) as address:
        assert address.startswith("127.0.0.1:")
    arguments[-1] = tmp_path / "empty"
    result = run_process(*arguments)
    # Its log, as of any server, and then why it ends.
    begun, error = result.stderr.splitlines()
    assert json.loads(begun)["event"] == "firmware-pulling"
    assert error.startswith(f"ota-service: registry {registry.authority}: ")
    assert (result.returncode, result.stdout) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--firmware", "oci://registry/Name"], "expected oci://REGISTRY"),
        (["--firmware", "a.bin", "--cache", "c"], "--cache is for firmware oci://"),
        (["--firmware", "oci://r/a", "--oci-ca", "no.pem"], "--oci-ca no.pem: No such file"),
        (["--firmware", "oci://r/a", "--oci-interval", "0"], "--oci-interval"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    more = ["--cert", "c", "--key", "k", "--dice-auth-url", "http://127.0.0.1:9"]
    assert run(["agent", *arguments, *more]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
