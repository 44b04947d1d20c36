"""`ota-service image` with what people and attackers give it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ota_cli import signing as cli_signing
from ota_cli.command_line import run
from tests.esp_image import signing
from tests.ota_cli.processes import COMMAND, done, refused

MB = 1024 * 1024


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image, its signing key, and both together."""
    folder = tmp_path_factory.mktemp("desk")
    key = signing.make_key("rsa")
    (folder / "key.pem").write_bytes(signing.private_pem(key))
    (folder / "key.pub").write_bytes(signing.public_pem(key))
    assert run(["image", "build", "-o", str(folder / "app.bin"), "--version", "1"]) == 0
    signed = signing.sign((folder / "app.bin").read_bytes(), key)
    (folder / "signed.bin").write_bytes(signed)
    return folder


def line(capsys: pytest.CaptureFixture[str], code: int, *arguments: Any) -> str:
    """The one line of a command that must fail."""
    assert run([str(argument) for argument in arguments]) == code
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert "a bug" not in text
    return text


def test_texts_from_images_and_arguments_are_not_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "[bold]mk.bin"
    build = ["image", "build", "-o", str(file), "--version", "[/x]", "--project", ":smile:"]
    assert run(build) == 0
    assert ":smile: [/x] for esp32" in capsys.readouterr().out
    assert run(["image", "info", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "[/x]" in shown
    assert ":smile:" in shown
    flash = tmp_path / "[red]f.bin"
    assert run(["board", "create", str(flash), "--app", str(file)]) == 0
    assert run(["board", "show", str(flash)]) == 0
    assert "[/x]" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb"])
def test_an_image_is_not_made_that_no_board_would_take(
    text: str, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.bin"
    rest = ("--version", "1", "--project", text, "-o", out)
    assert "project" in line(capsys, 2, "image", "build", *rest)
    assert "project" in line(capsys, 2, "image", "stamp", desk / "app.bin", *rest)
    assert not out.exists()


def test_a_file_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    name = "\udcff.bin"
    assert "\\udcff.bin" in done("image", "build", "-o", name, "--version", "1", cwd=tmp_path)
    assert "\\udcfe.bin" in refused("image", "info", "\udcfe.bin", cwd=tmp_path)


def test_a_signed_image_is_not_signed_again(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.bin"
    text = line(
        capsys, 1, "image", "sign", desk / "signed.bin", "--key", desk / "key.pem", "-o", out
    )
    assert "signed already" in text
    assert not out.exists()


def test_what_is_written_takes_no_place_of_what_is_kept_nowhere_else(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name completed too early, and the key that all boards trust would be an image."""
    key, flash = tmp_path / "key.pem", tmp_path / "flash.bin"
    key.write_bytes((desk / "key.pem").read_bytes())
    os.link(key, tmp_path / "link")
    for out in (key, tmp_path / "link"):
        text = line(capsys, 2, "image", "sign", desk / "app.bin", "--key", key, "-o", out)
        assert f"output {out}: that is the key" in text
    assert key.read_bytes() == (desk / "key.pem").read_bytes()
    assert run(["board", "create", str(flash), "--app", str(desk / "signed.bin")]) == 0
    before = flash.read_bytes()
    text = line(capsys, 2, "board", "export", flash, "--slot", "ota_0", "-o", flash)
    assert "that is the flash file" in text
    assert flash.read_bytes() == before


def test_verify_takes_one_whole_image_and_nothing_behind_it(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["image", "verify", str(desk / "signed.bin"), "--key", str(desk / "key.pub")]) == 0
    for rest in (b"\x00", b"\xff" * 4096):
        longer = tmp_path / "longer.bin"
        longer.write_bytes((desk / "signed.bin").read_bytes() + rest)
        assert "longer.bin" in line(capsys, 1, "image", "verify", longer, "--key", desk / "key.pub")
    assert "app.bin" in line(
        capsys, 1, "image", "verify", desk / "app.bin", "--key", desk / "key.pub"
    )


def test_a_key_that_cannot_sign_is_the_reason_given(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = signing.make_key("p256")
    short = rsa.generate_private_key(65537, 2048)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    wrong = {
        "public.pem": signing.public_pem(key),
        "rsa2048.pem": signing.private_pem(short),
        "encrypted.pem": encrypted,
        "text.pem": b"hello",
        "empty.pem": b"",
    }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        text = line(
            capsys, 1, "image", "sign", desk / "app.bin", "--key", tmp_path / name,
            "-o", tmp_path / "out.bin",
        )  # fmt: skip
        assert name in text
        assert "expected an unencrypted private key" in text
    assert not (tmp_path / "out.bin").exists()


def test_of_what_espsecure_says_the_error_is_the_reason() -> None:
    said = "espsecure v5\nA fatal error occurred: no room\n1 signing key(s) found.\n"
    assert cli_signing._reason(said) == "A fatal error occurred: no room"
    assert cli_signing._reason("a\nb\n") == "b"


@pytest.mark.parametrize("size", ["99999999999", "9" * 40, str(16 * MB + 1), "1", "-1"])
def test_an_image_has_a_size_that_flash_can_hold(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.bin"
    text = line(capsys, 2, "image", "build", "-o", out, "--version", "1", "--size", size)
    assert "--size" in text
    assert not out.exists()


@pytest.mark.parametrize("size", ["900000MB", "4194305", "129MB", "0", "4095", "9" * 40])
def test_a_flash_is_whole_sectors_and_at_most_128_mb(
    size: str, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("board", "create", tmp_path / "f", "--app", desk / "app.bin", "--size", size)
    assert "at most 128MB" in line(capsys, 2, *arguments)


def test_the_largest_flash_boots(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flash = tmp_path / "f"
    arguments = ["--app", str(desk / "app.bin"), "--size", "128MB"]
    assert run(["board", "create", str(flash), *arguments]) == 0
    capsys.readouterr()
    assert run(["board", "show", str(flash), "--json"]) == 0
    assert '"boots": "ota_0"' in capsys.readouterr().out


def test_a_partition_table_of_nothing_is_one_line(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "none.csv"
    table.write_text("# nothing\n")
    arguments = ("board", "create", tmp_path / "f", "--app", desk / "app.bin")
    assert "no partition" in line(capsys, 1, *arguments, "--partitions", table)


def closed(streams: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """One command whose standard streams are closed as the shell words it."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {streams}', "sh", COMMAND, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_closed_standard_streams_are_no_output_and_keep_the_exit_code(
    desk: Path, tmp_path: Path
) -> None:
    for streams in (">&-", ">&- 2>&-", "<&- >&- 2>&-"):
        ended = closed(streams, "image", "info", desk / "app.bin")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert closed(streams, "image", "info", tmp_path / "none.bin").returncode == 1
        assert closed(streams, "image").returncode == 2
        out = tmp_path / "out.bin"
        assert closed(streams, "image", "build", "-o", out, "--version", "1").returncode == 0
        assert out.read_bytes() == (desk / "app.bin").read_bytes()
    assert closed("2>&-", "image", "info", desk / "app.bin").returncode == 0


def test_a_device_that_never_ends_is_not_read_for_ever() -> None:
    assert "larger than" in refused("image", "info", "/dev/zero")


def test_an_interruption_while_the_command_is_still_loading_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    line = refused("list", code=130, env=environment)
    assert line == "ota-service: interrupted"


def test_an_attestation_server_that_no_host_can_be_is_refused() -> None:
    files = ("--firmware", "f", "--cert", "c", "--key", "k")
    assert "x..y" in refused("agent", *files, "--dice-auth-url", "http://x..y", code=2)
