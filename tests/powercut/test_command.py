"""`ota-service board powercut`: for anybody's signed firmware, on a copy of the flash file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from esp_image.build import build_app
from ota_cli import command_line
from tests.esp_image import signing
from tests.ota_cli.processes import done, refused, run
from tests.powercut import broken
from virtual_esp32 import firmware_runs

KEYS = {"cuts", "failures", "known_outcomes", "operations", "by_kind", "kept"}
SMALL = 8 * 1024


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board that runs 1.0.0, and firmware for it."""
    folder = tmp_path_factory.mktemp("powercut")
    key = signing.make_key("p256")
    for version in ("1.0.0", "2.0.0"):
        app = build_app(version, "thermo", size=SMALL)
        (folder / f"plain-{version}.bin").write_bytes(app)
        (folder / f"{version}.bin").write_bytes(signing.sign(app, key))
    stranger = signing.sign(build_app("3.0.0", "thermo"), signing.make_key("p256"))
    (folder / "stranger.bin").write_bytes(stranger)
    large = signing.sign(build_app("4.0.0", "thermo", size=400_000), key)
    (folder / "large.bin").write_bytes(large)
    done("board", "create", folder / "flash.bin", "--app", folder / "1.0.0.bin", "--size", "1MB")
    return folder


def found(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(text)
    assert set(fields) == KEYS
    return fields


def test_every_cut_of_ones_own_firmware_with_flash_files_kept(files: Path, tmp_path: Path) -> None:
    before = (files / "flash.bin").read_bytes()
    result = run("-v", "board", "powercut", files / "flash.bin", "--firmware", files / "2.0.0.bin",
                 "--json", "--seed", 7, "--keep", tmp_path / "kept", "--sample", 5)  # fmt: skip
    assert result.returncode == 0, result.stderr
    fields = found(result.stdout)
    told = [int(of) for of in re.findall(r" (\d+) of \d+ cuts, [\d,]+ a second", result.stderr)]
    assert told == list(range(0, told[-1] + 1, 50)) and told[-1] + 50 >= fields["cuts"]
    assert fields["failures"] == 0
    assert fields["cuts"] == sum(fields["by_kind"].values()) > 1000
    assert fields["operations"] > 60
    assert set(fields["by_kind"]) >= {"cut-before", "cut-erase", "torn-write", "two-cuts", "fails"}
    assert len(fields["kept"]) == 5
    assert (files / "flash.bin").read_bytes() == before
    booted = set()
    for name in fields["kept"]:
        assert Path(name).is_file()
        assert Path(name + ".efuse.json").is_file()
        booted.add(json.loads(done("board", "show", name, "--json"))["version"])
    assert booted <= {"1.0.0", "2.0.0"}


def test_people_see_a_table_and_the_seed(files: Path) -> None:
    shown = done("board", "powercut", files / "flash.bin", "--firmware", files / "2.0.0.bin",
                 "--only", "5:cut-erase:3")  # fmt: skip
    assert "flash operations, seed " in shown
    assert "in the middle of an erase" in shown
    assert "failures" in shown


def test_a_failure_says_how_to_replay_it_and_is_exit_code_1(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(firmware_runs, "Firmware", broken.FirstBytesFirst)
    command = ["board", "powercut", str(files / "flash.bin"), "--firmware",
               str(files / "2.0.0.bin"), "--json", "--seed", "7"]  # fmt: skip
    assert command_line.run(command) == 1
    shown = capsys.readouterr()
    fields = found(shown.out)
    assert fields["failures"] > 0
    lines = shown.err.splitlines()
    assert all(line.startswith("FAILED in ") or "more failures" in line for line in lines)
    assert ": ota_1 can boot before its image has passed (again: --seed 7 --only " in lines[0]
    again = lines[0].partition("(again: ")[2].rstrip(")").split()
    assert command_line.run([*command, *again]) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [lines[0]]
    assert found(shown.out)["cuts"] == 1


@pytest.mark.parametrize(
    ("firmware", "text"),
    [
        ("plain-2.0.0.bin", "unsigned"),
        ("stranger.bin", "key-untrusted"),
        ("1.0.0.bin", "same-image"),
        ("large.bin", "too-large"),
        ("missing.bin", "no such file"),
        ("flash.bin", "flash.bin: "),
    ],
)
def test_what_cannot_be_proved_is_one_line(firmware: str, text: str, files: Path) -> None:
    line = refused("board", "powercut", files / "flash.bin", "--firmware", files / firmware)
    assert text in line


def test_a_flash_that_is_not_there_or_boots_nothing_is_one_line(
    files: Path, tmp_path: Path
) -> None:
    new = files / "2.0.0.bin"
    assert "no such file" in refused("board", "powercut", tmp_path / "x", "--firmware", new)
    flash = tmp_path / "flash.bin"
    content = bytearray((files / "flash.bin").read_bytes())
    content[0x10000:0x11000] = b"\xff" * 4096
    flash.write_bytes(content)
    fuses = (files / "flash.bin.efuse.json").read_bytes()
    (tmp_path / "flash.bin.efuse.json").write_bytes(fuses)
    assert "no bootable image" in refused("board", "powercut", flash, "--firmware", new)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--only", "5"),
        ("--only", "5:nothing"),
        ("--only", "5:rot:1:2:0"),
        ("--only", "100000:cut-before"),
        ("--only", "5:cut-before+100000:cut-before"),
        ("--sample", "0"),
        ("--seed", "-1"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(
    arguments: tuple[str, str], files: Path
) -> None:
    result = run("board", "powercut", files / "flash.bin", "--firmware", files / "2.0.0.bin",
                 *arguments)  # fmt: skip
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("ota-service: ") or "--help" in result.stderr


def test_a_sample_of_nothing_is_a_mistake(files: Path) -> None:
    said = refused(
        "board", "powercut", files / "flash.bin", "--firmware", files / "2.0.0.bin",
        "--sample", "3", code=2,
    )  # fmt: skip
    assert "--keep DIR" in said
