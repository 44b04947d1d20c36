"""The registry's URL from a file: one that holds a password is no argument."""

from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.ota_cli.processes import done

MAC = "24:0a:c4:00:00:01"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "registry"
    monkeypatch.setenv("OTA_REGISTRY_FILE", str(path))
    monkeypatch.setenv("REDIS_HOST", "redis.invalid")
    return path


def test_commands_find_the_registry_that_the_file_names(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"sqlite:///{tmp_path}/boards.db\n")
    assert run(["submit", MAC]) == 0
    assert run(["show", MAC]) == 0
    assert (tmp_path / "boards.db").is_file()
    elsewhere = f"sqlite:///{tmp_path}/other.db"
    assert run(["show", MAC, "--registry", elsewhere]) == 1
    assert "other.db" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "\n", "redis://secret@a redis://b", "\xe9\n"])
def test_a_file_that_holds_no_url_is_named_and_not_shown(
    content: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(content)
    assert run(["list"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"OTA_REGISTRY_FILE {file}: expected one line" in error
    assert "secret" not in error


def test_a_file_that_is_not_there_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 1
    assert f"OTA_REGISTRY_FILE {file}: no such file" in capsys.readouterr().err


def test_a_password_in_a_url_of_no_known_form_is_not_shown(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("redisx://user:secret@host\n")
    assert run(["list"]) == 1
    assert "secret" not in capsys.readouterr().err


def test_help_needs_no_file(file: Path) -> None:
    assert run(["list", "--help"]) == 0


def test_a_batch_may_come_through_a_pipe(file: Path, tmp_path: Path) -> None:
    """As into a pod: `kubectl exec -i ... submit --csv /dev/stdin`."""
    file.write_text(f"sqlite:///{tmp_path}/boards.db\n")
    assert "2 boards" in done("submit", "--csv", "/dev/stdin", input=f"mac\n{MAC}\n{MAC[:-1]}2\n")
    assert MAC in done("list")
