"""The eFuse sidecar and the flash file: what is wrong with them is said in one line."""

import itertools
import json
from pathlib import Path

import pytest

from virtual_esp32 import VirtualBoardError
from virtual_esp32.efuse import EFuse, sidecar_path
from virtual_esp32.flash import NorFlash
from virtual_esp32.manufacture import partition_layout

MAC = bytes.fromhex("240ac4010203")
DIGEST = "00" * 32


def test_fuses_come_back_as_they_were_saved(tmp_path: Path) -> None:
    fuses = EFuse(MAC, chip="esp32s3", chip_revision=2, secure_boot=2, key_digests=[b"\x01" * 32],
                  revoked=[True], secure_version=3, trusted_keys=[b"\x02" * 32])  # fmt: skip
    fuses.save(tmp_path / "f.bin")
    again = EFuse.load(tmp_path / "f.bin")
    assert vars(again) == vars(fuses)
    assert again.chip_id == 9
    assert again.revoked_digests == [b"\x01" * 32]
    again.raise_secure_version(2)
    assert again.secure_version == 3
    again.raise_secure_version(5)
    assert again.secure_version == 5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ("{}", "mac"),
        ('{"mac": 7}', "MAC"),
        ('{"mac": "24:0a:c4:01:02"}', "MAC"),
        ('{"mac": "zz:0a:c4:01:02:03"}', "MAC"),
        ('{"mac": "24:0a:c4:01:02:03", "colour": 1}', "colour"),
        ('{"mac": "24:0a:c4:01:02:03", "chip": "esp8266"}', "esp8266"),
        ('{"mac": "24:0a:c4:01:02:03", "secure_boot": 3}', "secure_boot"),
        ('{"mac": "24:0a:c4:01:02:03", "secure_version": -1}', "secure_version"),
        ('{"mac": "24:0a:c4:01:02:03", "key_digests": ["00"]}', "key_digests"),
        ('{"mac": "24:0a:c4:01:02:03", "trusted_keys": [7]}', "trusted_keys"),
        ('{"mac": "24:0a:c4:01:02:03", "key_digests": 7}', "key_digests"),
        ('{"mac": "24:0a:c4:01:02:03", "revoked": [true]}', "revoked"),
        ('{"mac": "24:0a:c4:01:02:03", "revoked": true}', "revoked"),
        ('{"mac": "24:0a:c4:01:02:03", "chip": []}', "chip"),
        ('{"mac": "24:0a:c4:01:02:03", "chip_revision": true}', "chip_revision"),
        ('{"mac": "24:0a:c4:01:02:03", "chip_revision": 1.0}', "chip_revision"),
        ('{"mac": "24:0a:c4:01:02:03", "secure_boot": true}', "secure_boot"),
        ('{"mac": "24:0a:c4:01:02:03", "secure_boot": 2.0}', "secure_boot"),
        ('{"mac": "24:0a:c4:01:02:03", "secure_boot": null}', "secure_boot"),
        ('{"mac": "24:0a:c4:01:02:03", "secure_version": 100000}', "secure_version"),
        (f'{{"mac": "24:0a:c4:01:02:03", "key_digests": ["{DIGEST}"], "revoked": ["no"]}}', "true"),
        (f'{{"mac": "24:0a:c4:01:02:03", "key_digests": ["{DIGEST}"], "revoked": [1]}}', "true"),
        ("[" * 5000, "JSON"),
        ('{"mac":' * 5000, "JSON"),
    ],
)
def test_a_sidecar_that_is_wrong_names_its_mistake(text: str, named: str, tmp_path: Path) -> None:
    Path(sidecar_path(tmp_path / "f.bin")).write_text(text)
    with pytest.raises(VirtualBoardError, match=named) as caught:
        EFuse.load(tmp_path / "f.bin")
    assert "\n" not in str(caught.value)


def test_a_missing_sidecar_is_named(tmp_path: Path) -> None:
    with pytest.raises(VirtualBoardError, match=r"f\.bin\.efuse\.json"):
        EFuse.load(tmp_path / "f.bin")


def test_a_sidecar_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    Path(sidecar_path(tmp_path / "f.bin")).mkdir()
    with pytest.raises(VirtualBoardError, match=r"f\.bin\.efuse\.json: is a directory"):
        EFuse.load(tmp_path / "f.bin")


def test_no_secret_stands_in_the_sidecar() -> None:
    assert set(json.loads(EFuse(MAC).to_json())) == {
        "mac", "chip", "chip_revision", "secure_boot", "key_digests", "revoked",
        "secure_version", "trusted_keys",
    }  # fmt: skip


def test_the_4_mb_layout_is_micropythons() -> None:
    rows = [(p.label, p.offset, p.size) for p in partition_layout(4 * 1024 * 1024)]
    assert rows == [
        ("nvs", 0x9000, 0x4000),
        ("otadata", 0xD000, 0x2000),
        ("phy_init", 0xF000, 0x1000),
        ("ota_0", 0x10000, 0x180000),
        ("ota_1", 0x190000, 0x180000),
        ("vfs", 0x310000, 0xF0000),
    ]


@pytest.mark.parametrize("megabytes", [1, 2, 8, 16])
def test_other_sizes_are_laid_out_without_a_gap(megabytes: int) -> None:
    rows = partition_layout(megabytes * 1024 * 1024)
    assert all(a.end == b.offset for a, b in itertools.pairwise(rows))
    assert rows[-1].end == megabytes * 1024 * 1024


def test_flash_too_small_for_two_slots_is_refused() -> None:
    with pytest.raises(VirtualBoardError, match="too small"):
        partition_layout(128 * 1024)


def test_other_processes_see_what_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(b"\xff" * 8192)
    flash = NorFlash.open(str(path))
    flash.write(4096, b"\x00" * 16)
    assert path.read_bytes()[4096:4112] == bytes(16)
    flash.erase_sector(1)
    assert path.read_bytes() == b"\xff" * 8192
    flash.close()


def test_a_flash_file_is_open_once(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(b"\xff" * 8192)
    flash = NorFlash.open(str(path))
    with pytest.raises(VirtualBoardError, match="a board runs on it already"):
        NorFlash.open(str(path))
    flash.close()
    NorFlash.open(str(path)).close()


def test_slots_are_no_larger_than_a_bootloader_takes() -> None:
    slots = [p.size for p in partition_layout(128 * 1024 * 1024) if p.label.startswith("ota_")]
    assert slots == [16 * 1024 * 1024] * 2
