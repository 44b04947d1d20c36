"""`--config FILE.json`: a board's settings, mistakes in them, the loud ones and what they do."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import world
from tests.ota_cli import test_board_interpreters as interpreters
from tests.ota_cli.configured import (
    MAC,
    NEW,
    RUNTIMES,
    board,
    failed,
    is_new,
    push,
    settled,
)
from tests.ota_cli.processes import done, refused, server
from tests.ports import free_port

# What stands in the file: what the line says.
MISTAKES = {
    "{": "not JSON",
    "[" * 5000: "not JSON",
    '["agent_ca"]': "expected a JSON object",
    '{"colour": "red"}': "unknown setting: colour",
    '{"policy": "never"}': "policy 'never': expected",
    '{"attempts": 0}': "attempts 0: expected",
    '{"insecure": 1}': "insecure 1: expected",
    '{"insecure_port": 70000}': "insecure_port 70000: expected",
    '{"pause_s": "long"}': "pause_s 'long': expected",
    '{"allowed_agents": ["10.0.0.1/8"]}': "allowed_agents '10.0.0.1/8': expected",
    '{"trusted_keys": ["00"]}': "trusted_keys: expected",
    '{"trigger_key": "5ec4e7"}': "trigger_key: expected",
    '{"agent_ca": "none.pem"}': "agent_ca: ",
    '{"agent_ca": "."}': "agent_ca: ",
    '{"agent_ca": "board.json"}': "agent_ca: expected certificates",
    '{"agent_ca": ["bad.der"]}': "agent_ca: not a certificate",
}
# Values of a type that no setting of this name has.
WRONG_TYPES = {
    '{"agent_ca": 5}': "agent_ca",
    '{"agent_ca": null}': "agent_ca",
    '{"agent_ca": [["x"]]}': "agent_ca",
    '{"agent_ca": {"file": "x"}}': "agent_ca",
    '{"trigger_key": 32}': "trigger_key: expected",
    '{"trusted_keys": [32]}': "trusted_keys: expected",
    '{"pause_s": 1e999}': "pause_s",
    '{"attempts": 1e999}': "attempts",
}


def assert_is_a_mistake(runtime: str, folder: Path, content: str, said: str) -> None:
    """One line, before the flash file is so much as looked for, and nothing of a key in it."""
    (folder / "bad.der").write_bytes(b"0\x82rubbish")
    (folder / "board.json").write_text(content)
    line = interpreters.refusal(runtime, folder, 2, "none.bin", "--config", "board.json")
    assert f"--config board.json: {said}" in line
    assert "5ec4e7" not in line


@pytest.mark.parametrize("runtime", interpreters.RUNTIMES)
def test_a_mistake_in_the_file_is_one_line(runtime: str, tmp_path: Path) -> None:
    for content, said in MISTAKES.items():
        assert_is_a_mistake(runtime, tmp_path, content, said)
    for name in ("none.json", "."):
        line = interpreters.refusal(runtime, tmp_path, 2, "none.bin", "--config", name)
        assert f"--config {name}: " in line


@pytest.mark.parametrize("runtime", interpreters.RUNTIMES)
@pytest.mark.parametrize("content", WRONG_TYPES)
def test_a_value_of_a_wrong_type_is_one_line(runtime: str, content: str, tmp_path: Path) -> None:
    assert_is_a_mistake(runtime, tmp_path, content, WRONG_TYPES[content])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_board_run_tells_mistakes_as_it_does_those_of_its_options(
    runtime: str, tmp_path: Path
) -> None:
    config = tmp_path / "board.json"
    arguments = ("board", "run", "none.bin", "--runtime", runtime)
    assert f"configuration {config}: " in refused(*arguments, "--config", config)
    config.write_text('{"policy": "never"}')
    line = refused(*arguments, "--config", config)
    assert f"configuration {config}: policy 'never': expected" in line
    assert "--project" in refused(*arguments, "--project", "", code=2)


def test_help_says_what_holds_without_a_word_about_it() -> None:
    assert "[default: (different)]" in " ".join(done("board", "run", "--help").split())


@pytest.mark.parametrize(("runtime", "form"), [("cpython", "DER"), ("micropython", "PEM")])
def test_a_board_with_its_settings_in_a_file_takes_a_secure_update(
    runtime: str, form: str, tmp_path: Path
) -> None:
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    authority = world.authority("test CA")
    certificate, private = authority.issue()
    new, chain, key = (tmp_path / name for name in ("new.bin", "agent.pem", "agent.key"))
    for file, content in ((new, NEW), (chain, certificate), (key, private)):
        file.write_bytes(content)
    # beside the JSON file, not where the command runs
    (tmp_path / "ca").write_bytes(authority.ca if form == "DER" else authority.ca_pem)
    secret = tmp_path / "trigger.key"
    secret.write_text("5e" * 32 + "\n")
    settings = {"agent_ca": "ca", "trigger_key": "5e" * 32, "allowed_agents": ["127.0.0.0/8"]}
    done("submit", MAC, "--registry", registry)
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as attestation,
        server(
            "agent", "--firmware", new, "--cert", chain, "--key", key,
            "--dice-auth-url", attestation, "--listen", "127.0.0.1:0",
        ) as agent,
        board(tmp_path, runtime, settings) as url,
    ):  # fmt: skip
        said = done("update", url, "--agent", agent, "--trigger-key", secret)
    assert "runs thermo 2.0.0 in ota_1, confirmed" in said
    assert "5e5e" not in said


def insecure(**settings: Any) -> dict[str, Any]:
    return {"insecure": True, "insecure_port": free_port(), "attempts": 1, **settings}


def start(url: str) -> None:
    answer = httpx.post(f"{url}/update", content=b"ip: 192.0.2.1", trust_env=False, timeout=10)
    assert answer.text == "Received update request: About to update (Insecure)\n"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_insecure_board_takes_a_raw_image_over_tcp(runtime: str, tmp_path: Path) -> None:
    settings = insecure()
    log: list[str] = []
    with board(tmp_path, runtime, settings, log=log) as url:
        start(url)
        push(settings["insecure_port"], NEW)
        settled(url, is_new)
        info = httpx.get(f"{url}/info", trust_env=False, timeout=10).json()
    assert (info["version"], info["slot"]) == ("2.0.0", "ota_1")
    port = settings["insecure_port"]
    boots = [line for line in log if f"whoever connects to TCP port {port}" in line]
    assert len(boots) == 2, log
    assert all("INSECURE" in line for line in boots)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_insecure_board_refuses_a_strangers_image(runtime: str, tmp_path: Path) -> None:
    settings = insecure()
    with board(tmp_path, runtime, settings) as url:
        start(url)
        push(settings["insecure_port"], world.app("2.0.0", signer="stranger"))
        found = settled(url, failed)
    assert (found["error"]["code"], found["running"]) == ("key-untrusted", "ota_0")
    assert json.loads(done("board", "show", tmp_path / "flash.bin", "--json"))["boots"] == "ota_0"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_update_command_follows_an_insecure_board(runtime: str, tmp_path: Path) -> None:
    settings = insecure()
    with board(tmp_path, runtime, settings) as url, ThreadPoolExecutor(1) as sender:
        pushed = sender.submit(push, settings["insecure_port"], NEW)
        said = done("update", url, "--agent", "192.0.2.1")
        pushed.result(10)
    assert "insecure mode" in said
    assert "runs thermo 2.0.0 in ota_1, confirmed" in said


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_the_command_line_says_wins_over_the_file(runtime: str, tmp_path: Path) -> None:
    settings = insecure(policy="newer", project="pump", attempts=1)
    same = world.app("1.0.0", size=44_000)
    for options, code in (
        (("--policy", "any"), "project-mismatch"),
        (("--project", "thermo"), "not-newer"),
    ):
        with board(tmp_path, runtime, settings, *options) as url:
            start(url)
            push(settings["insecure_port"], same)
            assert settled(url, failed)["error"]["code"] == code
    with board(tmp_path, runtime, settings, "--policy", "any", "--project", "thermo") as url:
        start(url)
        push(settings["insecure_port"], same)
        settled(url, is_new)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_log_is_loud_about_unsigned_firmware_and_quiet_otherwise(
    runtime: str, tmp_path: Path
) -> None:
    for allowed in (True, False):
        log: list[str] = []
        with board(tmp_path, runtime, {"allow_unsigned": allowed}, log=log):
            pass
        loud = [line for line in log if "INSECURE" in line]
        assert len(loud) == allowed, log
        assert not allowed or "allow_unsigned: " in loud[0]
