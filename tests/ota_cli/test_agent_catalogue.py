"""A catalogue as docs/catalogue.md tells people to make one, and the mistakes they make."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.esp_image import signing
from tests.ota_agent.images import app
from tests.ota_cli.processes import done, refused, server

GUIDE = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text()


def agent_arguments(folder: Path) -> list[object]:
    done("agent", "init", folder / "certs")
    return [
        "agent", "--cert", folder / "certs/agent.pem", "--key", folder / "certs/agent.key",
        "--dice-auth-url", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--firmware",
    ]  # fmt: skip


def test_the_folder_that_the_guide_has_one_make_is_served(tmp_path: Path) -> None:
    (tmp_path / "sign.pem").write_bytes(signing.private_pem(signing.make_key("p256")))
    for name in ("thermo", "lamp"):
        done("image", "build", "-o", tmp_path / f"{name}-build.bin", "--version", "1")
    script = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)[0].partition("ota-service agent")[0]
    subprocess.run(
        ["sh", "-ec", script],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    assert sorted(each.name for each in (tmp_path / "fleet").iterdir()) == [
        "lamp-1.4.0.bin", "thermo-2.0.0.bin",
    ]  # fmt: skip
    arguments = agent_arguments(tmp_path)
    with server(*arguments, tmp_path / "fleet", "--default-firmware", "thermo") as address:
        assert address.startswith("127.0.0.1:")


def test_a_missing_folder_is_named_and_an_empty_one_is_served(tmp_path: Path) -> None:
    arguments = agent_arguments(tmp_path)
    assert "missing: No such file or directory" in refused(*arguments, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with server(*arguments, tmp_path / "empty") as address:
        assert address.startswith("127.0.0.1:")


@pytest.mark.parametrize("text", ["", "thermo@esp64", "@esp32"])
def test_a_default_that_names_nothing_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert run(["agent", "--firmware", str(tmp_path), "--default-firmware", text]) == 2
    error = capsys.readouterr().err
    assert repr(text) in error
    assert error.count("\n") == 1


def test_a_default_of_one_file_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.bin").write_bytes(app())
    arguments = agent_arguments(tmp_path)
    code = run([*map(str, arguments), str(tmp_path / "a.bin"), "--default-firmware", "thermo"])
    assert code == 2
    assert "one file" in capsys.readouterr().err
