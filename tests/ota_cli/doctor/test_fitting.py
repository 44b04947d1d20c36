"""Firmware against the board it is for."""

import json
from pathlib import Path
from typing import Any

from esp_image import build
from tests import world
from tests.esp_image import signing
from tests.ota_cli.doctor.peers import answers, tcp_server
from tests.ota_cli.doctor.provoking import Report, doctor, each_provokes, provokes
from tests.ota_cli.doctor.test_board_settings import settings
from tests.ota_cli.doctor.test_flash import TWO_SLOTS, flash_file
from tests.ota_cli.strange_board import STATUS

OLD, NEW = world.app("1.0.0"), world.app("2.0.0")


def fits(folder: Path, image: bytes, *options: Any) -> Report:
    path = folder / "firmware.bin"
    path.write_bytes(image)
    return doctor("--firmware", path, *options)


@provokes("firmware-fits")
def test_the_next_version_fits_the_boards_flash(tmp_path: Path) -> None:
    report = fits(tmp_path, NEW, "--flash", flash_file(tmp_path, OLD))
    assert report.complaints == []
    assert "13 (esp32c6) fits" in report.message("firmware-fits")


@each_provokes("image", {
    "firmware-chip-mismatch": world.app("2.0.0", chip="esp32h2"),
    "firmware-key-untrusted": world.app("2.0.0", signer="thief"),
    "firmware-runs-already": OLD,
    "firmware-extra-block": signing.sign(
        world.app("2.0.0", signer=None), world.key("owner"), world.key("second")),
})  # fmt: skip
def test_what_the_board_of_a_flash_file_would_refuse(
    code: str, image: bytes, tmp_path: Path
) -> None:
    report = fits(tmp_path, image, "--flash", flash_file(tmp_path, OLD))
    assert report.complaints == [code]


@provokes("firmware-secure-version", "firmware-chip-revision")
def test_floors_in_efuse_count(tmp_path: Path) -> None:
    flash = flash_file(tmp_path, world.app("1.0.0", secure_version=3), "--secure-version", "2")
    assert fits(tmp_path, NEW, "--flash", flash).complaints == ["firmware-secure-version"]

    plain = build.build_app("2.0.0", "thermo", chip=world.CHIP, min_chip_rev=900, secure_version=3)
    image = signing.sign(plain, world.key("owner"))
    assert fits(tmp_path, image, "--flash", flash).complaints == ["firmware-chip-revision"]


@provokes("firmware-key-revoked")
def test_a_revoked_key_counts_no_more(tmp_path: Path) -> None:
    keys = []
    for name in ("owner", "second"):
        keys.append(tmp_path / f"{name}.pub")
        keys[-1].write_bytes(signing.public_pem(world.key(name)))
    options = [text for key in keys for text in ("--secure-boot-key", str(key))]
    flash = flash_file(tmp_path, world.app("1.0.0", signer="second"), *options)
    sidecar = next(path for path in tmp_path.iterdir() if path.suffix == ".json")
    fuses = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**fuses, "revoked": [True, False]}))
    assert fits(tmp_path, NEW, "--flash", flash).complaints == ["firmware-key-revoked"]
    image = world.app("2.0.0", signer="second")
    assert fits(tmp_path, image, "--flash", flash).complaints == []


@provokes("firmware-too-large")
def test_firmware_larger_than_the_slot_is_found_with_the_table_alone(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(TWO_SLOTS)
    large = world.app("2.0.0", size=400_000)
    assert fits(tmp_path, large, "--partitions", table).complaints == ["firmware-too-large"]
    assert fits(tmp_path, NEW, "--partitions", table).complaints == []
    flash = flash_file(tmp_path, OLD, "--size", "1MB")
    assert "firmware-too-large" in fits(tmp_path, large, "--flash", flash).complaints


def with_board(folder: Path, image: bytes, *options: Any, **info: Any) -> list[str]:
    """What is said of firmware for a board that answers so at GET /info."""
    said = {"device": world.CHIP, "application": "thermo", "version": "1.0.0", **STATUS, **info}
    with tcp_server(answers("200 OK", json.dumps(said).encode())) as address:
        return fits(folder, image, "--board", address, *options).complaints


@each_provokes("info", {
    "firmware-chip-mismatch": {"device": "ESP32-S3"},
    "firmware-other-project": {"application": "lamp"},
    "firmware-runs-already": {"version": "2.0.0"},
    "firmware-older": {"version": "2.0.1"},
})  # fmt: skip
def test_what_a_board_says_of_itself_counts(code: str, info: Any, tmp_path: Path) -> None:
    assert with_board(tmp_path, NEW, **info) == [code]


def test_a_board_that_says_little_is_no_reason_to_complain(tmp_path: Path) -> None:
    assert with_board(tmp_path, NEW) == []
    assert with_board(tmp_path, NEW, device="ESP32-C6") == []
    assert with_board(tmp_path, NEW, version="release") == []
    assert with_board(tmp_path, NEW, device=None) == []


@provokes(
    "firmware-project-mismatch", "firmware-not-newer", "firmware-version-unknown",
    "firmware-key-untrusted",
)  # fmt: skip
def test_the_boards_settings_count(certs: Path, tmp_path: Path) -> None:
    def said(image: bytes = NEW, version: str = "1.0.0", **values: Any) -> list[str]:
        path = settings(tmp_path, certs, **values)
        return with_board(tmp_path, image, "--board-config", path, version=version)

    assert said(project="thermo", policy="newer") == []
    assert said(project="lamp") == ["firmware-project-mismatch"]
    assert said(policy="newer", version="2.1") == ["firmware-older", "firmware-not-newer"]
    assert said(policy="newer", version="release") == ["firmware-version-unknown"]
    assert said(trusted_keys=["ab" * 32]) == ["firmware-key-untrusted"]


@provokes("firmware-not-newer", "firmware-project-mismatch")
def test_settings_and_flash_together_are_the_boards_own_rules(certs: Path, tmp_path: Path) -> None:
    flash = flash_file(tmp_path, world.app("3.0.0"))
    path = settings(tmp_path, certs, project="lamp", policy="newer")
    report = fits(tmp_path, NEW, "--flash", flash, "--board-config", path)
    assert report.complaints == ["firmware-project-mismatch", "firmware-not-newer"]
