"""`ota-service board adopt`: a flash dump from elsewhere becomes a virtual board."""

from pathlib import Path

import click

from esp_image import ImageError, chips
from ota_cli import images, output
from ota_cli.board.create import new_mac
from ota_cli.board.flash_file import parse_slot
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes, write_bytes
from virtual_esp32 import FlashError, VirtualBoardError, bootloader
from virtual_esp32.efuse import EFuse, format_mac, sidecar_path
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import first_app_partition

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("flash", type=_FILE)
@click.option(
    "--chip",
    metavar="CHIP",
    type=click.Choice(sorted(chips.CHIPS)),
    help="The chip it is from. [default: as its first image says]",
)
@click.option("--mac", metavar="MAC", help="Its Wi-Fi MAC. [default: a random one]")
@click.option(
    "--secure-boot-key",
    "secure_boot_keys",
    multiple=True,
    type=_FILE,
    help="Secure Boot V2 is on, with this public key (PEM) in eFuse; up to three.",
)
def adopt(
    flash: Path, chip: str | None, mac: str | None, secure_boot_keys: tuple[Path, ...]
) -> None:
    """Write the eFuse file for a flash dump of a real board; the dump stays as it is.

    \b
    Example:
      ota-service board adopt dump.bin --mac 24:0a:c4:00:00:01
    """
    sidecar = Path(sidecar_path(flash))
    if sidecar.exists():
        raise CommandError(f"{sidecar} exists: remove it first")
    content = read_bytes(flash, "flash file")
    try:
        efuse = EFuse(
            new_mac(mac),
            chip=chip or _chip_of(content),
            secure_boot=2 if secure_boot_keys else 0,
            key_digests=[images.key_digest(key) for key in secure_boot_keys],
        )
    except (FlashError, VirtualBoardError) as error:
        raise CommandError(f"flash file {flash}: {error}") from None
    write_bytes(sidecar, efuse.to_json().encode() + b"\n", "eFuse file")
    output.say(f"{sidecar}: {efuse.chip}, MAC {format_mac(efuse.mac)}")


def _chip_of(content: bytes) -> str:
    """The chip of the image that a new board would boot. Raises VirtualBoardError."""
    partitions = bootloader.read_partition_table(NorFlash(MemoryStorage(content)))
    slot = first_app_partition(partitions)
    try:
        header = parse_slot(content[slot.offset : slot.offset + slot.size]).header
    except ImageError as error:
        raise VirtualBoardError(f"{slot.label}: {error.code}: {error}; give --chip") from None
    if header is None:
        raise VirtualBoardError(f"{slot.label} holds no image; give --chip")
    return chips.chip_name(header.chip_id)
