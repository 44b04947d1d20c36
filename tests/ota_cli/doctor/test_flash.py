"""Flash files and partition tables."""

from pathlib import Path

from ota_cli.command_line import run
from tests import world
from tests.ota_cli.doctor.provoking import doctor, each_provokes, provokes

TWO_SLOTS = (
    "nvs,data,nvs,0x9000,0x4000\notadata,data,ota,0xd000,0x2000\n"
    "ota_0,app,ota_0,0x10000,0x60000\nota_1,app,ota_1,0x70000,0x60000\n"
)
FACTORY = "nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,0x60000\n"
NO_OTADATA = TWO_SLOTS.replace("otadata,data,ota,", "phy,data,phy,")


def flash_file(folder: Path, image: bytes, *options: str, table: str | None = None) -> Path:
    """As `board create` makes it."""
    app, flash = folder / "app.bin", folder / "flash.bin"
    app.write_bytes(image)
    if table is not None:
        (folder / "table.csv").write_text(table)
        options += ("--partitions", str(folder / "table.csv"))
    assert run(
        ["board", "create", str(flash), "--app", str(app), "--chip", world.CHIP, *options]
    ) == 0  # fmt: skip
    return flash


@provokes("flash-ok")
def test_a_new_board_can_be_updated(tmp_path: Path) -> None:
    report = doctor("--flash", flash_file(tmp_path, world.app("1.0.0")))
    assert report.complaints == []
    assert "running image" in report.message("flash-ok")


@provokes("flash-ok")
def test_a_table_with_two_slots_can_be_updated(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TWO_SLOTS)
    report = doctor("--partitions", tmp_path / "table.csv")
    assert report.complaints == []
    assert "393216 bytes" in report.message("flash-ok")


@each_provokes("text", {
    "partitions-no-second-slot": FACTORY + "otadata,data,ota,0x70000,0x2000\n",
    "partitions-no-otadata": NO_OTADATA,
    "partitions-invalid": TWO_SLOTS.replace("0x70000", "0x60000"),
})  # fmt: skip
def test_tables_that_take_no_update(code: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert doctor("--partitions", path).complaints == [code]


@provokes("partitions-invalid")
def test_a_table_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    assert doctor("--partitions", path).complaints == ["partitions-invalid"]
    path.write_bytes(b"\xaa\x50\xff")
    assert doctor("--partitions", path).complaints == ["partitions-invalid"]


@provokes("partitions-no-second-slot", "partitions-no-otadata")
def test_the_same_in_a_flash_file(tmp_path: Path) -> None:
    flash = flash_file(tmp_path, world.app("1.0.0"), table=FACTORY)
    assert set(doctor("--flash", flash).complaints) == {
        "partitions-no-second-slot", "partitions-no-otadata",
    }  # fmt: skip


@provokes("flash-no-trusted-key")
def test_a_board_that_trusts_no_key_is_found(tmp_path: Path) -> None:
    flash = flash_file(tmp_path, world.app("1.0.0", signer=None))
    assert doctor("--flash", flash).complaints == ["flash-no-trusted-key"]


@provokes("flash-unreadable", "flash-not-bootable")
def test_a_flash_file_that_is_none(tmp_path: Path) -> None:
    flash = flash_file(tmp_path, world.app("1.0.0"))
    content = bytearray(flash.read_bytes())
    content[0x10000:0x10010] = b"\xff" * 16
    flash.write_bytes(content)
    assert doctor("--flash", flash).complaints == ["flash-not-bootable"]
    assert flash.read_bytes() == content
    flash.write_bytes(b"rubbish")
    assert doctor("--flash", flash).complaints == ["flash-unreadable"]
    assert doctor("--flash", tmp_path / "none.bin").complaints == ["flash-unreadable"]


@provokes("flash-not-confirmed")
def test_firmware_that_has_not_confirmed_itself_is_found(tmp_path: Path) -> None:
    from esp_partition import otadata

    flash = flash_file(tmp_path, world.app("1.0.0"))
    content = bytearray(flash.read_bytes())
    entry = otadata.build_entry(1, otadata.NEW)
    content[0xD000 : 0xD000 + len(entry)] = entry
    flash.write_bytes(content)
    assert doctor("--flash", flash).complaints == ["flash-not-confirmed"]
    assert flash.read_bytes() == content
