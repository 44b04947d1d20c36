"""`ota-service agent --watch` as it is typed, and into pipes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ota_cli.admin_port import AdminPort, answer, fleet, raw_port, serving, session
from tests.ota_cli.processes import COMMAND, refused, run
from tests.ports import free_port

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ boards=(\d+) sending=(\d+\+?) bytes_per_s=(\d+\+?)"
    r" sent=1234 up_to_date=56 refused=7 failed=8 turned_away=9\n"
)


@contextmanager
def watching(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Into a pipe."""
    process = subprocess.Popen(
        [COMMAND, "agent", "--watch", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pipe_gets_a_line_for_each_answer_until_it_is_enough(number: signal.Signals) -> None:
    with serving(AdminPort(fleet(12))) as url, watching(url) as process:
        for _ in range(2):
            line = process.stdout.readline()
            found = LINE.fullmatch(line)
            assert found, line
            assert found.groups() == ("12", "4", "6000")
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_lines_end_well_when_nobody_reads_them_any_more() -> None:
    with serving(AdminPort(fleet(1))) as url, watching(url, "--interval", "3600") as process:
        assert LINE.fullmatch(process.stdout.readline())
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_a_pipe_that_nobody_reads_from_the_first_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    # With this the line would not be left in a buffer, for Python to complain about at exit.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with serving(AdminPort(fleet(1))) as url, os.fdopen(writer, "wb") as pipe:
        result = subprocess.run(
            [COMMAND, "agent", "--watch", url], env=environment,
            stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, b"")


def test_lines_ask_for_no_boards_where_the_agent_counts_them_itself() -> None:
    admin = AdminPort({**fleet(1200), "sending": 400, "bytes_per_s": 5e6})
    with serving(admin) as url, watching(url) as process:
        first, second = (LINE.fullmatch(process.stdout.readline()) for _ in range(2))
    assert first.groups() == second.groups() == ("1200", "400", "5000000")
    assert admin.limits[:2] == ["1000", "1"]


def test_lines_go_on_after_an_agent_was_away() -> None:
    port = free_port()
    with ExitStack() as agent:
        url = agent.enter_context(serving(AdminPort(fleet(3)), port))
        with watching(url) as process:
            line = process.stdout.readline()
            agent.close()
            while LINE.fullmatch(line):
                line = process.stdout.readline()
            assert re.search(r"Z no answer for \d+ s, trying again: nothing answers there\n", line)
            with serving(AdminPort(fleet(3)), port):
                again = (process.stdout.readline() for _ in range(20))
                assert any(LINE.fullmatch(line) for line in again)


def test_where_nothing_answers_the_cure_is_named() -> None:
    port = free_port()
    line = refused("agent", "--watch", port)
    assert line.startswith(f"ota-service: http://127.0.0.1:{port}: nothing answers there; is the")
    assert "--admin" in line
    assert "no such host" in refused("agent", "--watch", "nobody.invalid:1")


STRANGERS: dict[str, tuple[Any, int, str]] = {
    "html": (b"<html>It works!</html>", 200, "expected JSON"),
    "other json": (b'{"status": "ok"}', 200, "agent: expected an object"),
    "list": (b"[]", 200, "expected an object"),
    "missing page": (b"no", 404, "status 404"),
    "redirect": (b"", 302, "status 302"),
    "huge": (b" " * 3_000_000, 200, "over 2097152 bytes"),
    "deep": (b"[" * 200_000, 200, "expected JSON"),
    "number": (b"1" * 5000, 200, "expected JSON"),
    "bytes": (b"\xff\xfe\x00", 200, "expected JSON"),
    "hostile": (b'{"agent": {"host": "\\u001b[2J"}}', 200, "totals: expected an object"),
}


@pytest.mark.parametrize(("said", "code", "reason"), STRANGERS.values(), ids=STRANGERS)
def test_another_server_than_an_agent_is_one_line(said: bytes, code: int, reason: str) -> None:
    admin = AdminPort(said)
    admin.code = code
    with serving(admin) as url:
        line = refused("agent", "--watch", url)
    assert f"{url}: not the admin port of an agent" in line
    assert reason in line


@pytest.mark.parametrize("said", [b"\x15\x03\x03\x00\x02\x02\x28", b""], ids=["tls", "nothing"])
def test_a_port_that_speaks_no_http_is_one_line(said: bytes) -> None:
    """The agent's own port for boards, say."""
    with raw_port(said) as address:
        assert "no HTTP answer" in refused("agent", "--watch", address)


def test_an_answer_that_comes_by_drops_is_not_waited_for_for_ever() -> None:
    with raw_port(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000, pause_s=0.2) as address:
        assert "no answer within 5 s" in refused("agent", "--watch", address)


def test_what_makes_an_agent_does_not_go_with_watching_one(tmp_path: Path) -> None:
    line = refused("agent", "--watch", "1", "--firmware", "x", "--listen", "h:1", code=2)
    assert "--watch: does not go with --firmware, --listen" in line
    assert "init" in refused("agent", "--watch", "1", "init", tmp_path / "certs", code=2)
    assert not (tmp_path / "certs").exists()
    assert "--watch" in refused("agent", "--interval", "5", code=2)
    for wrong in ("0", "nan", "1.5", "-1", "86401"):
        assert "--interval" in refused("agent", "--watch", "1", "--interval", wrong, code=2)


def test_an_address_that_cannot_be_is_refused_and_a_password_is_not_repeated() -> None:
    assert "'ftp://x': expected" in refused("agent", "--watch", "ftp://x", code=2)
    line = refused("agent", "--watch", "http://me:secret@h:1", code=2)
    assert "secret" not in line
    assert "HOST:PORT" in line


def test_the_environment_of_an_agent_does_not_matter() -> None:
    environment = {**os.environ, "NEW_FIRMWARE_PATH": "/x", "http_proxy": "http://127.0.0.1:9"}
    with serving(AdminPort(answer(session()))) as url:
        command = f"'{COMMAND}' agent --watch {url} | head -n 1"
        result = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert LINE.fullmatch(result.stdout), result
    assert (result.returncode, result.stderr) == (0, "")


def test_help_shows_how_to_watch() -> None:
    said = run("agent", "--help").stdout
    assert "ota-service agent --watch http://127.0.0.1:4434" in said
    assert "--interval" in said


def test_an_agent_starts_without_what_watching_needs() -> None:
    code = "import sys, ota_cli.agent; print({'httpx', 'rich.live'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
