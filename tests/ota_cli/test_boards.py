"""`ota-service board`: boards made, looked at and taken over."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.esp_image import signing
from tests.micropython_port import SHARED
from tests.ota_cli.processes import done, refused

IMAGES = SHARED / "images"
CSV = """nvs,data,nvs,0x9000,0x4000
otadata,data,ota,0xd000,0x2000
factory,app,factory,0x10000,0x80000
ota_0,app,ota_0,,0x80000
ota_1,app,ota_1,,0x80000
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.bin"
    done("image", "build", "-o", path, "--version", "1.0.0", "--project", "thermo")
    return path


def shown(flash: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(done("board", "show", flash, "--json"))
    return fields


def test_a_board_with_a_factory_partition_boots_it(app: Path, tmp_path: Path) -> None:
    flash, table = tmp_path / "flash.bin", tmp_path / "table.csv"
    table.write_text(CSV)
    done("board", "create", flash, "--app", app, "--partitions", table, "--size", "2MB")
    fields = shown(flash)
    assert fields["boots"] == "factory"
    assert [p["label"] for p in fields["partitions"]] == [
        "nvs",
        "otadata",
        "factory",
        "ota_0",
        "ota_1",
    ]
    assert [s["label"] for s in fields["slots"]] == ["factory", "ota_0", "ota_1"]
    assert "0x10000" in done("board", "show", flash)


def test_a_table_that_does_not_fit_or_is_wrong_is_one_line(app: Path, tmp_path: Path) -> None:
    flash, table = tmp_path / "flash.bin", tmp_path / "table.csv"
    table.write_text(CSV)
    line = refused("board", "create", flash, "--app", app, "--partitions", table, "--size", "1MB")
    assert "ota_1" in line
    table.write_text("nvs,data,nvs,everywhere,0x4000\n")
    assert "table.csv" in refused("board", "create", flash, "--app", app, "--partitions", table)
    table.write_text("nvs,data,nvs,0x9000,0x4000\n")
    assert "slot" in refused("board", "create", flash, "--app", app, "--partitions", table)
    assert not flash.exists()


@pytest.mark.skipif(not IMAGES.is_dir(), reason=f"{IMAGES} is not there")
def test_with_a_bootloader_the_file_is_what_a_chip_is_flashed_with(
    app: Path, tmp_path: Path
) -> None:
    flash, loader = tmp_path / "flash.bin", IMAGES / "bootloader_esp32_v5_2.bin"
    done("board", "create", flash, "--app", app, "--bootloader", loader)
    content = loader.read_bytes()
    assert flash.read_bytes()[0x1000 : 0x1000 + len(content)] == content
    other = IMAGES / "bootloader_esp32c3.bin"
    line = refused("board", "create", tmp_path / "x", "--app", app, "--bootloader", other)
    assert "esp32c3" in line


def test_secure_boot_in_efuse_decides_what_boots(app: Path, tmp_path: Path) -> None:
    signed, flash = tmp_path / "signed.bin", tmp_path / "flash.bin"
    for name in ("owner", "stranger"):
        key = signing.make_key("rsa")
        (tmp_path / f"{name}.pem").write_bytes(signing.private_pem(key))
        (tmp_path / f"{name}.pub").write_bytes(signing.public_pem(key))
    done("image", "sign", app, "--key", tmp_path / "owner.pem", "-o", signed)
    key = ("--secure-boot-key", tmp_path / "owner.pub")
    done("board", "create", flash, "--app", signed, *key, "--secure-version", "2")
    fields = shown(flash)
    assert (fields["boots"], fields["secure_boot"], fields["secure_version"]) == ("ota_0", 2, 2)
    assert fields["key_digests"] == [fields["slots"][0]["signatures"][0]["key_digest"]]
    strange = tmp_path / "strange.bin"
    done(
        "board", "create", strange, "--app", signed, "--secure-boot-key", tmp_path / "stranger.pub"
    )
    fields = shown(strange)
    assert fields["boots"] is None
    assert "trusted key" in fields["passed_over"][0]
    assert "key-untrusted" in fields["slots"][0]["image"]
    assert "no bootable image" in refused("board", "run", strange, "--http", "127.0.0.1:0")


def test_export_takes_out_what_was_put_in(app: Path, tmp_path: Path) -> None:
    flash, out = tmp_path / "flash.bin", tmp_path / "out.bin"
    done("board", "create", flash, "--app", app)
    done("board", "export", flash, "--slot", "ota_0", "-o", out)
    assert out.read_bytes() == app.read_bytes()
    assert "ota_0, ota_1" in refused("board", "export", flash, "--slot", "ota_7", "-o", out)
    assert "--raw" in refused("board", "export", flash, "--slot", "ota_1", "-o", out)
    done("board", "export", flash, "--slot", "ota_1", "--raw", "-o", out)
    assert out.read_bytes() == b"\xff" * 0x180000


def test_erased_otadata_boots_the_first_slot_again(app: Path, tmp_path: Path) -> None:
    flash = tmp_path / "flash.bin"
    done("board", "create", flash, "--app", app)
    content = bytearray(flash.read_bytes())
    content[0xD000:0xF000] = bytes(0x2000)
    flash.write_bytes(content)
    assert shown(flash)["otadata"][0]["crc_ok"] is False
    done("board", "erase-otadata", flash)
    assert flash.read_bytes()[0xD000:0xF000] == b"\xff" * 0x2000
    assert shown(flash)["boots"] == "ota_0"


def test_a_dump_from_elsewhere_is_adopted_as_it_is(app: Path, tmp_path: Path) -> None:
    made, dump = tmp_path / "made.bin", tmp_path / "dump.bin"
    done("board", "create", made, "--app", app)
    dump.write_bytes(made.read_bytes())
    assert "dump.bin.efuse.json" in refused("board", "show", dump)
    done("board", "adopt", dump, "--mac", "24:0a:c4:00:00:07")
    fields = shown(dump)
    assert (fields["chip"], fields["mac"], fields["boots"]) == (
        "esp32",
        "24:0a:c4:00:00:07",
        "ota_0",
    )
    assert dump.read_bytes() == made.read_bytes()
    assert "exists" in refused("board", "adopt", dump)
    rubbish = tmp_path / "rubbish.bin"
    rubbish.write_bytes(bytes(4096 * 16))
    assert "partition table" in refused("board", "adopt", rubbish)


def test_a_table_with_a_gap_in_its_slots_is_shown_as_it_is(app: Path, tmp_path: Path) -> None:
    flash, table = tmp_path / "flash.bin", tmp_path / "table.csv"
    table.write_text(CSV.replace("ota_1,app,ota_1", "ota_2,app,ota_2"))
    done("board", "create", flash, "--app", app, "--partitions", table)
    assert [s["label"] for s in shown(flash)["slots"]] == ["factory", "ota_0", "ota_2"]
