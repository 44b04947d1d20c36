"""Firmware files by themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

from esp_image import ImageParser, build, keys
from ota_cli.doctor.firmware import build_time
from tests import world
from tests.esp_image import signing
from tests.micropython_port import SHARED
from tests.ota_cli.doctor.provoking import Report, doctor, doctor_at, each_provokes, provokes

BOOTLOADER = SHARED / "images" / "bootloader_esp32c3.bin"
GOOD = world.app("2.0.0")
PLAIN = world.app("2.0.0", signer=None)


def public_key(folder: Path, signer: str = "owner") -> Path:
    path = folder / f"{signer}.pub"
    path.write_bytes(signing.public_pem(world.key(signer)))
    return path


def looked_at(folder: Path, content: bytes, *options: object) -> Report:
    path = folder / "firmware.bin"
    path.write_bytes(content)
    return doctor("--firmware", path, *options)


@provokes("firmware-ok")
def test_signed_firmware_is_fine(tmp_path: Path) -> None:
    assert looked_at(tmp_path, GOOD).complaints == []
    key = public_key(tmp_path)
    digest = keys.key_digest_of_public_key(key.read_bytes()).hex()
    for trusted in (key, digest):
        report = looked_at(tmp_path, GOOD, "--trust", "ab" * 32, "--trust", trusted)
        assert report.complaints == []
    assert "thermo 2.0.0 esp32c6" in report.message("firmware-ok")


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def without_descriptor() -> bytes:
    plain = build.build_app("1", "thermo", chip=world.CHIP)
    at = plain.index(b"\x32\x54\xcd\xab")
    parts = (plain[:at] + bytes(4) + plain[at + 4 :])[: len(plain) - 33]
    return parts + plain[len(parts) :]


@each_provokes("content", {
    "firmware-truncated": GOOD[:20_000],
    "firmware-damaged": damaged(GOOD, 30_000),
    "firmware-trailing-data": GOOD + b"\xff" * 4096,
    "firmware-unsigned": PLAIN,
    "firmware-signature-invalid": signing.pad(PLAIN)
    + signing.sign(world.app("3.0.0", signer=None), world.key("owner"))[-4096:],
    "firmware-scheme-not-of-chip": signing.sign(
        world.app("1", signer=None, chip="esp32c3"), world.key("owner")),
    "firmware-no-version": world.app(""),
    "firmware-no-project": world.app("2.0.0", project=""),
    "firmware-not-an-image": b"\x7fELF" + bytes(2000),
    "firmware-no-descriptor": without_descriptor(),
})  # fmt: skip
def test_what_is_wrong_with_a_file(code: str, content: bytes, tmp_path: Path) -> None:
    assert looked_at(tmp_path, content).complaints == [code]


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"PK\x03\x04" + bytes(99), "a ZIP file"), (b"<html>", "a web page"), (b"\0" * 99, "0x0")],
)
def test_what_a_file_is_instead_is_named(content: bytes, found: str, tmp_path: Path) -> None:
    assert found in looked_at(tmp_path, content).message("firmware-not-an-image")


@provokes("firmware-unreadable", "firmware-truncated")
def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert doctor("--firmware", tmp_path / "none.bin").complaints == ["firmware-unreadable"]
    assert doctor("--firmware", "/dev/zero").complaints == ["firmware-unreadable"]
    report = looked_at(tmp_path, b"")
    assert report.complaints == ["firmware-truncated"]
    assert "empty" in report.message("firmware-truncated")


@provokes("firmware-whole-flash")
@pytest.mark.parametrize("offset", [0, 0x1000])
def test_an_image_for_the_whole_flash_is_told_from_an_application(
    offset: int, tmp_path: Path
) -> None:
    bootloader = build.build_image([(0x3FFF0000, bytes(64))], "esp32")
    content = b"\xff" * offset + bootloader + b"\xff" * 0x8000 + GOOD
    assert looked_at(tmp_path, content).complaints == ["firmware-whole-flash"]
    assert looked_at(tmp_path, b"\xff" * offset + bootloader).complaints == ["firmware-whole-flash"]


@pytest.mark.skipif(not BOOTLOADER.exists(), reason=f"{BOOTLOADER} is not there")
def test_a_real_bootloader_is_told_from_an_application(tmp_path: Path) -> None:
    assert doctor("--firmware", BOOTLOADER).complaints == ["firmware-whole-flash"]


@provokes("firmware-scheme-unsupported")
def test_a_signature_that_no_board_verifies(tmp_path: Path) -> None:
    signed = signing.sign(world.app("1", signer=None, chip="esp32p4"), signing.make_key("p384"))
    assert looked_at(tmp_path, signed).complaints == ["firmware-scheme-unsupported"]


@provokes("firmware-key-untrusted")
def test_a_key_that_is_not_trusted_is_named_by_its_digest(tmp_path: Path) -> None:
    report = looked_at(
        tmp_path, world.app("2.0.0", signer="thief"), "--trust", public_key(tmp_path)
    )
    assert report.complaints == ["firmware-key-untrusted"]
    digest = keys.key_digest_of_public_key(public_key(tmp_path, "thief").read_bytes())
    assert digest.hex() in report.message("firmware-key-untrusted")


@provokes("firmware-none", "firmware-duplicate")
def test_a_folder_is_looked_at_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    folder.mkdir()
    assert doctor("--firmware", folder).complaints == ["firmware-none"]
    for name, content in (("a.bin", GOOD), ("b.bin", world.app("2.0.1")), ("notes.txt", b"x")):
        (folder / name).write_bytes(content)
    report = doctor("--firmware", folder)
    assert report.codes == ["firmware-ok", "firmware-ok", "clock-ok"]
    (folder / "c.bin").write_bytes(GOOD)
    (folder / "d.bin").write_bytes(PLAIN)
    report = doctor("--firmware", folder)
    assert sorted(report.complaints) == [
        "firmware-duplicate", "firmware-duplicate", "firmware-unsigned",
    ]  # fmt: skip
    assert report.message("firmware-duplicate").endswith("a.bin (the same file)")


@provokes("firmware-built-in-future")
def test_a_build_date_after_this_machines_clock_is_found(tmp_path: Path) -> None:
    parser = ImageParser(signed=None)
    parser.feed(GOOD)
    assert parser.descriptor is not None
    built = build_time(parser.descriptor)
    assert built is not None
    path = tmp_path / "firmware.bin"
    path.write_bytes(GOOD)
    report = doctor_at(built.replace(year=built.year - 1), firmware=(path,))
    assert "firmware-built-in-future" in report.complaints
    assert doctor_at(built, firmware=(path,)).complaints.count("firmware-built-in-future") == 0


def test_espsecures_own_signature_is_fine(tmp_path: Path) -> None:
    key, plain, signed = (tmp_path / name for name in ("key.pem", "plain.bin", "signed.bin"))
    key.write_bytes(signing.private_pem(signing.make_key("rsa")))
    plain.write_bytes(PLAIN)
    command = [sys.executable, "-m", "espsecure", "sign-data", "--version", "2", "--keyfile", key]
    subprocess.run([*command, "--output", signed, plain], check=True, capture_output=True)
    assert doctor("--firmware", signed).complaints == []
