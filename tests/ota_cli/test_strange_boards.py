"""`ota-service update` against whatever may answer: an end, one line, never a false success."""

from typing import Any

import pytest

from ota_cli import board_client
from ota_cli import update as update_module
from ota_cli.command_line import run
from tests.ota_cli.processes import refused
from tests.ota_cli.strange_board import STATUS, Script, board, dribbling

FAILURE = {"code": "digest-mismatch", "message": "expected A, found B"}
UPDATED = {**STATUS, "running": "ota_1"}


def updated(
    script: Script,
    capsys: pytest.CaptureFixture[str],
    *options: str,
    agent: str = "192.0.2.1",
) -> tuple[int, str]:
    """Exit code and the line on standard error."""
    with board(script) as url:
        code = run(["update", url, "--agent", agent, *options])
    captured = capsys.readouterr()
    if code == 0:
        assert captured.err == ""
        return code, captured.out
    assert captured.err.count("\n") == 1, captured.err
    return code, captured.err


def test_a_board_that_comes_back_confirmed_is_updated(capsys: pytest.CaptureFixture[str]) -> None:
    writing = {**STATUS, "state": "receiving [bold]", "received": 10, "total": 20, "attempt": 1}
    code, out = updated(Script(STATUS, writing, UPDATED), capsys)
    assert code == 0
    assert "thermo 1 in ota_1, confirmed" in out


def test_a_new_error_on_an_idle_board_ends_the_wait(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = updated(Script({**STATUS, "error": FAILURE}), capsys)
    assert code == 1
    assert "digest-mismatch: expected A, found B; still runs ota_0" in line


def test_an_old_error_does_not_end_the_wait_and_the_same_one_again_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = {**STATUS, "error": FAILURE}
    assert updated(Script(old, UPDATED, before=old), capsys)[0] == 0
    busy = {**STATUS, "state": "connecting"}
    code, line = updated(Script(old, busy, old, before=old), capsys)
    assert (code, "digest-mismatch" in line) == (1, True)
    failed = {**old, "state": "failed"}
    assert updated(Script(failed, UPDATED, before=failed), capsys)[0] == 0


def test_a_board_that_is_up_to_date_is_no_failure_also_the_second_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_module, "_UNSEEN_S", 0.2)
    up_to_date = {**STATUS, "error": {"code": "up-to-date", "message": "204"}}
    busy = {**STATUS, "state": "connecting"}
    for script in (Script(busy, up_to_date), Script(up_to_date, before=up_to_date)):
        code, out = updated(script, capsys)
        assert code == 0
        assert "thermo 1 in ota_0, the agent has nothing newer" in out
    failed = {**up_to_date, "state": "failed"}
    assert updated(Script(busy, failed), capsys)[0] == 1


def test_an_update_that_never_shows_ends_the_wait(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_module, "_UNSEEN_S", 0.2)
    code, line = updated(Script(STATUS), capsys)
    assert (code, "no update showed" in line) == (1, True)


def test_a_board_that_gives_up_without_a_word_ends_the_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, line = updated(Script({**STATUS, "state": "connecting"}, STATUS), capsys)
    assert (code, "still runs ota_0" in line) == (1, True)
    code, line = updated(Script({**STATUS, "state": "failed"}), capsys)
    assert (code, "does not say why" in line) == (1, True)


WRONG = {
    "state": [None, 7, ["idle"]],
    "received": ["1", -1, True, 1.5, 10**30],
    "total": ["1", -1, False, []],
    "running": [["a"], None, 1],
    "confirmed": ["no", 1, None],
    "error": [False, "x", {"code": "x"}, {"code": 1, "message": "x"}],
    "attempt": ["1", None],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_a_status_of_wrong_types_is_refused(
    name: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = updated(Script({**UPDATED, name: value}), capsys)
    assert code == 1
    assert f"not the status of an OTA board: {name}: expected" in line


@pytest.mark.parametrize("body", [b"[" * 60_000, b"\xff", b"[]", b"1" * 5000, b'{"state": "idle"}'])
def test_an_answer_that_is_no_status_is_one_line(
    body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = updated(Script(body), capsys)
    assert code == 1
    assert "/update: " in line


def test_texts_of_a_board_are_neither_markup_nor_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = {"code": "[/x]", "message": "a\x1b[2J\nb"}
    code, line = updated(Script({**STATUS, "state": "[/y]"}, {**STATUS, "error": error}), capsys)
    assert code == 1
    assert "[/x]: a\\x1b[2J b;" in line


@pytest.mark.parametrize("options", [(), ("--no-wait",)])
def test_an_answer_to_the_request_that_is_not_a_boards_is_refused(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = updated(Script(UPDATED, taken=b"<html>welcome"), capsys, *options)
    assert code == 1
    assert "<html>welcome" in line
    code, out = updated(Script(UPDATED), capsys, "--no-wait")
    assert (code, out) == (0, "Received update request: About to update (Secure)\n")


def test_an_ipv4_agent_is_sent_as_text_and_a_name_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for agent, kind, body in (
        ("192.0.2.1", "text/plain", b"ip: 192.0.2.1"),
        ("192.0.2.1:4434", "text/plain", b"ip: 192.0.2.1:4434"),
        ("agent.example:4433", "application/json", b'{"agent": "agent.example:4433"}'),
    ):
        script = Script(UPDATED)
        assert updated(script, capsys, agent=agent)[0] == 0
        assert script.requests == [(kind, body)]


@pytest.mark.parametrize("agent", ["", "\udcff", "1.2.3", "1.2.3.4:0", "a b", "1.2.3.4\nx", "::1"])
def test_an_agent_that_no_board_would_take_is_never_sent(
    agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(UPDATED)
    code, line = updated(script, capsys, agent=agent)
    assert (code, script.requests) == (2, [])
    assert "--agent" in line


@pytest.mark.parametrize(
    "url", ["http://x..y", "", "http://", "ftp://x", "http://x:99999", "\udcff", "http://[::1"]
)
def test_a_url_that_cannot_be_is_called_that(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["update", url, "--agent", "192.0.2.1"]) == 2
    assert "expected http://BOARD" in capsys.readouterr().err


def test_a_server_that_never_comes_to_an_end_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_client, "_DEADLINE_S", 0.3)
    with dribbling(b" ", 0.05) as url:
        assert run(["update", url, "--agent", "192.0.2.1"]) == 1
    assert "no answer in time" in capsys.readouterr().err
    with dribbling(b" " * 65536, 0) as url:
        assert run(["update", url, "--agent", "192.0.2.1"]) == 1
    assert "over 65536 bytes" in capsys.readouterr().err


def test_an_undecodable_argument_is_one_line() -> None:
    assert "--agent" in refused("update", "http://127.0.0.1:1", "--agent", b"\xff".decode(
        "utf-8", "surrogateescape"
    ), code=2)  # fmt: skip
