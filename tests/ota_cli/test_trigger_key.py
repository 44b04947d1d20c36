"""Who may trigger an update: the trigger key, the allow-list, the pause after failures."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from ota_cli.command_line import run
from ota_cli.trigger_key import proof
from tests.ota_cli.configured import RUNTIMES, board, failed, settled, status
from tests.ota_cli.processes import done, refused
from tests.ota_cli.strange_board import STATUS, Script
from tests.ota_cli.strange_board import board as strange_board
from tests.ports import free_port

KEY = bytes(range(0xE0, 0x100))
NOWHERE = "192.0.2.1"
REQUEST = b"ip: 192.0.2.1"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "trigger.key"
    path.write_text(KEY.hex() + "\n")
    return path


@pytest.fixture
def wrong_key(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.key"
    path.write_bytes(KEY[::-1])
    return path


def post(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(
        f"{url}/update", content=REQUEST, headers=headers, trust_env=False, timeout=10
    )


def asleep(**settings: Any) -> dict[str, Any]:
    """Settings of a board whose update waits until it is cancelled."""
    return {"insecure": True, "insecure_port": free_port(), "first_byte_s": 600, **settings}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_only_who_has_the_trigger_key_starts_and_cancels_an_update(
    runtime: str, tmp_path: Path, key: Path, wrong_key: Path
) -> None:
    with board(tmp_path, runtime, asleep(trigger_key=KEY.hex())) as url:
        for arguments in (("--agent", NOWHERE), ("--agent", NOWHERE, "--no-wait"), ("--cancel",)):
            assert "give --trigger-key" in refused("update", url, *arguments)
            line = refused("update", url, *arguments, "--trigger-key", wrong_key)
            assert "not this board's" in line
        assert status(url)["state"] == "idle"
        assert "no update is running" in refused("update", url, "--cancel", "--trigger-key", key)
        with_key = ("--agent", NOWHERE, "--no-wait", "--trigger-key", key)
        assert "About to update (Insecure)" in done("update", url, *with_key)
        assert "--cancel" in refused("update", url, *with_key)
        assert "give --trigger-key" in refused("update", url, "--cancel")
        assert status(url)["state"] == "connecting"
        assert "update cancelled" in done("update", url, "--cancel", "--trigger-key", key)
        assert settled(url, failed)["error"]["code"] == "cancelled"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_nonce_serves_once_and_for_one_request(runtime: str, tmp_path: Path) -> None:
    with board(tmp_path, runtime, asleep(trigger_key=KEY.hex())) as url:
        nonce = status(url)["nonce"]
        for method, body in (("DELETE", REQUEST), ("POST", b"ip: 192.0.2.2"), ("POST", b"")):
            assert post(url, proof(KEY, nonce, method, body)).status_code == 401
        assert status(url)["nonce"] == nonce
        headers = proof(KEY, nonce, "POST", REQUEST)
        assert post(url, headers).status_code == 200
        assert post(url, headers).status_code == 401
        fresh = status(url)["nonce"]
        assert fresh != nonce
        assert post(url, proof(KEY, nonce, "POST", REQUEST)).status_code == 401
        assert post(url, proof(KEY, fresh, "POST", REQUEST)).status_code == 409


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_agent_that_is_not_on_the_allow_list_is_refused(runtime: str, tmp_path: Path) -> None:
    settings = asleep(allowed_agents=["10.1.0.0/16", "agent.example"])
    with board(tmp_path, runtime, settings) as url:
        for agent in (NOWHERE, "10.2.0.1", "other.example"):
            line = refused("update", url, "--agent", agent)
            assert f"agent {agent} is not on this board's allow-list" in line
        assert status(url)["state"] == "idle"
        for agent in ("10.1.2.3", "agent.example:4434"):
            done("update", url, "--agent", agent, "--no-wait")
            done("update", url, "--cancel")
            settled(url, failed)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_after_failures_a_board_pauses_and_says_how_long(runtime: str, tmp_path: Path) -> None:
    settings = {"pause_after": 1, "pause_s": 600}  # without an agent's CA every update fails
    with board(tmp_path, runtime, settings) as url:
        assert "no-agent-ca" in refused("update", url, "--agent", NOWHERE)
        seconds = int(post(url).headers["Retry-After"])
        assert 500 < seconds <= 600
        line = refused("update", url, "--agent", NOWHERE)
    said = int(line.split("try again in ")[1].split(" s")[0])
    assert 500 < said <= seconds


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_after_the_pause_a_board_takes_updates_again(runtime: str, tmp_path: Path) -> None:
    settings = {"pause_after": 1, "pause_s": 2}
    with board(tmp_path, runtime, settings) as url:
        assert post(url).status_code == 200
        settled(url, failed)
        answer = post(url)
        assert (answer.status_code, answer.headers["Retry-After"] in ("1", "2")) == (429, True)
        settled(url, lambda _: post(url).status_code == 200)


def test_a_key_file_may_hold_bytes_or_hex_digits(tmp_path: Path) -> None:
    file = tmp_path / "trigger.key"
    before = {**STATUS, "nonce": "ab12"}
    expected = proof(KEY, "ab12", "POST", REQUEST)
    for content in (KEY, KEY.hex().encode(), KEY.hex().upper().encode() + b"\r\n"):
        file.write_bytes(content)
        script = Script(STATUS, before=before)
        with strange_board(script) as url:
            done("update", url, "--agent", NOWHERE, "--no-wait", "--trigger-key", file)
        assert {name: script.heads[0][name] for name in expected} == expected


def test_a_key_file_that_is_none_is_one_line_without_a_byte_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trigger.key"
    text = KEY.hex()
    script = Script(STATUS)
    with strange_board(script) as url:
        arguments = ["update", url, "--agent", NOWHERE, "--trigger-key", str(file)]
        assert run(arguments) == 1
        for content in ("", text[:-1], text + "0", "0x" + text[2:], text[:-2] + "é", f"{text} x"):
            file.write_text(content)
            assert run(arguments) == 1
        file.unlink()
        file.mkdir()
        assert run(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert f"trigger key {file}: " in line
        assert text[4:12] not in line
    assert script.requests == []


def test_a_key_for_a_board_that_has_none_is_not_sent(
    key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(STATUS)
    with strange_board(script) as url:
        assert run(["update", url, "--agent", NOWHERE, "--trigger-key", str(key)]) == 1
    assert "leave out --trigger-key" in capsys.readouterr().err
    assert script.requests == []


@pytest.mark.parametrize("nonce", [7, "", "a b", "a\r\nX: y", "é", "a" * 200])
def test_a_nonce_that_fits_no_header_is_refused(
    nonce: object, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(STATUS, before={**STATUS, "nonce": nonce})
    with strange_board(script) as url:
        assert run(["update", url, "--agent", NOWHERE, "--trigger-key", str(key)]) == 1
    assert "nonce: expected" in capsys.readouterr().err
    assert script.requests == []


REFUSALS = [
    (401, {}, "give --trigger-key"),
    (403, {}, "the board refuses this agent: because"),
    (409, {}, "at an update already; --cancel ends it"),
    (429, {"Retry-After": "42"}, "try again in 42 s"),
    (429, {"Retry-After": "soon"}, "try again later"),
    (429, {}, "try again later"),
    (503, {}, "/update: 503: because"),
]


@pytest.mark.parametrize(("code", "headers", "said"), REFUSALS)
def test_a_refusal_is_one_clear_line(
    code: int, headers: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with strange_board(Script(STATUS, taken=b"because\n", code=code, headers=headers)) as url:
        assert run(["update", url, "--agent", NOWHERE]) == 1
    line = capsys.readouterr().err
    assert (line.count("\n"), said in line) == (1, True), line


@pytest.mark.parametrize(
    "arguments", [(), ("--agent", NOWHERE, "--cancel"), ("--cancel", "--agent", "")]
)
def test_an_update_is_either_started_or_cancelled(arguments: tuple[str, ...]) -> None:
    line = refused("update", "http://127.0.0.1:1", *arguments, code=2)
    assert "either --agent or --cancel" in line
