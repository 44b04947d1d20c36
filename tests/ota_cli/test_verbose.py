"""`ota-service --verbose`: each step is a line on standard error, with the time, nothing secret."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ota_cli import boards_bar, verbose
from tests.ota_cli.processes import done, refused, run, server
from tests.ports import free_port
from tests.world import app

CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} "


@pytest.fixture
def _is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process."""
    monkeypatch.setitem(verbose._state, "on", True)


def test_verbose_tells_what_is_done_with_the_time_and_changes_no_output(tmp_path: Path) -> None:
    image = tmp_path / "app.bin"
    image.write_bytes(app("1.0.0"))
    quiet, loud = run("image", "info", image), run("-v", "image", "info", image)
    assert (quiet.stderr, loud.stdout) == ("", quiet.stdout)
    lines = loud.stderr.splitlines()
    assert len(lines) >= 3
    assert all(re.match(CLOCK, line) for line in lines), lines
    assert f"image {image}: read, {image.stat().st_size} bytes" in loud.stderr


def test_verbose_tells_each_question_to_a_board_and_its_answer(tmp_path: Path) -> None:
    (tmp_path / "app.bin").write_bytes(app("1.0.0"))
    flash = tmp_path / "flash.bin"
    done("board", "create", flash, "--chip", "esp32c6", "--app", tmp_path / "app.bin")
    with server("board", "run", flash, "--http", "127.0.0.1:0") as url:
        said = run("-v", "update", url, "--agent", "127.0.0.1:1").stderr
    assert re.search(rf"{CLOCK}GET {url}/update: 200, \d+ bytes in \d+ ms", said), said
    assert re.search(rf"{CLOCK}POST {url}/update: 200", said), said


def test_verbose_tells_no_password_and_no_key(tmp_path: Path) -> None:
    key = tmp_path / "trigger.key"
    key.write_text("5a" * 32)
    url = "redis://someone:hunter2@127.0.0.1:1/0?password=hunter3"
    said = run("-v", "list", "--registry", url).stderr
    said += run("-v", "update", "http://u:hunter4@127.0.0.1:1", "--agent", "127.0.0.1",
                "--trigger-key", key).stderr  # fmt: skip
    lines = [line for line in said.splitlines() if re.match(CLOCK, line)]
    assert "registry: redis://127.0.0.1:1/0" in "\n".join(lines)
    assert f"trigger key {key}: read, 64 bytes" in "\n".join(lines)
    assert not [line for line in lines if "hunter" in line or "5a5a" in line]


def test_verbose_after_the_command_is_refused_with_where_it_goes() -> None:
    assert "ota-service --verbose COMMAND" in refused("list", "--verbose", code=2)


@pytest.mark.usefixtures("_is_on")
def test_whatever_a_line_holds_it_is_one_and_does_nothing_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verbose.tell("a board said\r\n  \x1b[2Jboo\x9b31m")
    told = capsys.readouterr().err
    assert re.fullmatch(rf"{CLOCK}a board said .*boo.*\n", told)
    assert "said  " not in told and told[:-1].isprintable()


def test_what_is_no_url_is_not_shown_at_all() -> None:
    assert verbose.without_password("redis://u:hunter2@[::1") == "(no URL)"


def test_a_question_that_nobody_answers_is_told_with_how_long_it_took() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    said = run("-v", "update", url, "--agent", "127.0.0.1").stderr
    assert re.search(rf"{CLOCK}GET {url}/update: .*, after \d+ ms\n", said), said


def test_files_that_are_written_are_told_and_which_of_them_is_a_secret(tmp_path: Path) -> None:
    image, table = tmp_path / "app.bin", f"sqlite:///{tmp_path}/r.sqlite"
    said = run("-v", "image", "build", "-o", image, "--version", "1").stderr
    assert f"{image}: written, {image.stat().st_size} bytes\n" in said
    said = run("-v", "image", "build", "-o", "/dev/null", "--version", "1").stderr
    assert re.search(r"/dev/null: written, \d+ bytes\n", said), said
    said = run("-v", "provision", "desk", "-o", tmp_path / "s", "--registry", table).stderr
    assert re.search(r"desk-nvs\.bin: written, \d+ bytes, a secret\n", said), said
    assert re.search(r"desk-root\.pem: written, \d+ bytes\n", said), said


def test_the_doctor_tells_each_look_and_how_long_it_took() -> None:
    said = run("-v", "doctor", "--agent", f"127.0.0.1:{free_port()}").stderr
    assert re.search(rf"{CLOCK}agent: begun\n", said), said
    assert re.search(rf"{CLOCK}agent: done in \d+ ms\n", said), said


def test_an_update_is_told_as_the_board_goes_through_it(tmp_path: Path) -> None:
    (tmp_path / "app.bin").write_bytes(app("1.0.0"))
    flash = tmp_path / "flash.bin"
    done("board", "create", flash, "--chip", "esp32c6", "--app", tmp_path / "app.bin")
    with server("board", "run", flash, "--http", "127.0.0.1:0") as url:
        said = run("-v", "update", url, "--agent", "127.0.0.1:1").stderr
    assert re.search(rf"{CLOCK}{url}: failed, 0 of \? bytes, runs ota_0, confirmed, [\w-]+\n", said)


@pytest.mark.usefixtures("_is_on")
def test_lines_of_several_threads_stay_whole(capfd: pytest.CaptureFixture[str]) -> None:
    """As the doctor's, whose looks run side by side."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(verbose.tell, [f"look {number}" for number in range(2000)]))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2000
    assert all(re.fullmatch(rf"{CLOCK}look \d+", line) for line in lines)


@pytest.mark.usefixtures("_is_on")
def test_a_batch_is_told_at_its_begin_and_end_and_every_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with boards_bar.BoardsBar("reading", 4000) as bar:
        for boards in range(0, 4001, 500):
            bar.report(boards, boards)
            now[0] += 0.3
    lines = [re.sub(CLOCK, "", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "reading: begun", "reading: 2000 boards so far, 1,667 a second",
        "reading: 4000 boards so far, 1,667 a second", "reading: 4000 boards",
    ]  # fmt: skip
