"""`ota-service board create`: a new board's flash file and fuses."""

import secrets
from pathlib import Path

import click

from esp_image import ImageError, ImageParser, chips
from esp_partition import table
from esp_partition.errors import PartitionTableError
from esp_partition.table import Partition, parse_csv
from ota_cli import board_secret, images, output
from ota_cli.chip_option import chip_option
from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes, write_bytes
from ota_cli.sizes import parse_flash_size
from virtual_esp32 import VirtualBoardError
from virtual_esp32.efuse import EFuse, format_mac, parse_mac, sidecar_path
from virtual_esp32.manufacture import first_app_partition, flash_content, partition_layout

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("flash", type=_FILE)
@click.option("--app", required=True, type=_FILE, help="First firmware.")
@chip_option()
@click.option(
    "--size",
    default="4MB",
    show_default=True,
    metavar="SIZE",
    callback=parse_flash_size,
    help="Flash size: a multiple of 4096 bytes, at most 128MB.",
)
@click.option("--mac", metavar="MAC", help="Wi-Fi MAC, aa:bb:cc:dd:ee:ff. [default: a random one]")
@click.option(
    "--trust",
    type=_FILE,
    help="Public key (PEM) that updates must be signed with. [default: the running firmware's]",
)
@click.option("--partitions", type=_FILE, help="Partition table, CSV. [default: MicroPython's OTA]")
@click.option(
    "--nvs",
    type=_FILE,
    help="Image for the nvs partition, as `provision` makes. The flash file is then for you alone.",
)
@click.option("--bootloader", type=_FILE, help="Second-stage bootloader, for a flashable file.")
@click.option(
    "--secure-boot-key",
    "secure_boot_keys",
    multiple=True,
    type=_FILE,
    help="Turn Secure Boot V2 on with this public key (PEM) in eFuse; up to three.",
)
@click.option(
    "--secure-version",
    default=0,
    show_default=True,
    type=click.IntRange(0, 32),
    help="Anti-rollback counter in eFuse.",
)
def create(
    flash: Path,
    app: Path,
    chip: str,
    size: int,
    mac: str | None,
    trust: Path | None,
    partitions: Path | None,
    nvs: Path | None,
    bootloader: Path | None,
    secure_boot_keys: tuple[Path, ...],
    secure_version: int,
) -> None:
    """Make the flash file of a new board, and its eFuse file beside it.

    The app goes into the factory partition if the table has one, else into ota_0.

    \b
    Example:
      ota-service board create flash.bin --app thermo-1.0.0.bin
      ota-service board create flash.bin --app thermo-1.0.0.bin \\
        --nvs secrets/desk-nvs.bin
    """
    if flash.exists():
        raise CommandError(f"{flash} exists: remove it first, or choose another name")
    content = read_bytes(app, "app")
    fields = images.describe(content, str(app))
    if fields["chip"] != chip:
        raise CommandError(f"{app}: built for {fields['chip']}, the board is {chip} (see --chip)")
    loader = _bootloader(bootloader, chip) if bootloader is not None else None
    try:
        layout = _partitions(partitions) if partitions is not None else partition_layout(size)
        efuse = EFuse(
            new_mac(mac),
            chip=chip,
            secure_boot=2 if secure_boot_keys else 0,
            key_digests=[images.key_digest(key) for key in secure_boot_keys],
            secure_version=secure_version,
            trusted_keys=[images.key_digest(trust)] if trust is not None else [],
        )
        offset = chips.CHIPS[chip].bootloader_offset
        image = flash_content(size, content, layout, loader, offset)
        slot = first_app_partition(layout).label
        if nvs is not None:
            _put_nvs(image, layout, nvs)
    except (VirtualBoardError, ImageError) as error:
        raise CommandError(str(error)) from None
    write_bytes(Path(sidecar_path(flash)), efuse.to_json().encode() + b"\n", "eFuse file")
    write_bytes(flash, bytes(image), "flash file", secret=nvs is not None)
    output.say(
        f"{flash}: {chip}, MAC {format_mac(efuse.mac)}, "
        f"{fields['project']} {fields['version']} in {slot}"
    )


def new_mac(text: str | None) -> bytes:
    """The MAC given on the command line, or a random one. Raises CommandError."""
    if text is None:
        return b"\x02" + secrets.token_bytes(5)  # 02: locally administered, so nobody's
    try:
        return parse_mac(text)
    except VirtualBoardError as error:
        raise CommandError(str(error), EXIT_USAGE) from None


def _partitions(path: Path) -> list[Partition]:
    try:
        partitions = parse_csv(read_bytes(path, "partition table").decode())
    except (PartitionTableError, UnicodeDecodeError) as error:
        raise CommandError(f"partition table {path}: {error}") from None
    if not partitions:
        raise CommandError(f"partition table {path}: no partition in it")
    return partitions


def _put_nvs(flash: bytearray, partitions: list[Partition], path: Path) -> None:
    """Put an NVS image where the board looks for it. Raises CommandError."""
    found = table.find(partitions, table.TYPE_DATA, table.SUBTYPE_NVS)
    if not found:
        raise CommandError("--nvs: the partition table has no nvs partition")
    image = read_bytes(path, "NVS image")
    if len(image) > found[0].size:
        raise CommandError(
            f"NVS image {path}: {len(image)} bytes, partition {found[0].label} has"
            f" {found[0].size} (0x{found[0].size:x}; see provision --size)"
        )
    try:
        if not board_secret.holds_values(image):
            raise CommandError(f"NVS image {path}: no NVS partition with values in it")
    except OSError as error:
        raise CommandError(f"NVS image {path}: {error.strerror or error}") from None
    flash[found[0].offset : found[0].offset + len(image)] = image


def _bootloader(path: Path, chip: str) -> bytes:
    content = read_bytes(path, "bootloader")
    parser = ImageParser(signed=None, bootloader=True)
    try:
        parser.feed(content)
        parser.close()
    except ImageError as error:
        raise CommandError(f"bootloader {path}: {error.code}: {error}") from None
    if parser.header is not None and parser.header.chip_id != chips.chip_id(chip):
        found = chips.describe(parser.header.chip_id)
        raise CommandError(f"bootloader {path}: built for chip {found}, the board is {chip}")
    return content
