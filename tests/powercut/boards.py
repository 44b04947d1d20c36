"""Boards and firmware for the proof: every configuration that the bars name."""

import functools
from typing import Any

from esp_image.signature import parse_sector
from esp_partition.table import parse_csv
from tests import world
from virtual_esp32.efuse import EFuse
from virtual_esp32.firmware_runs import Firmware
from virtual_esp32.manufacture import flash_content
from virtual_esp32.power_cuts import Proof

IMAGE_BYTES = 64 * 1024
FLASH_BYTES = 1024 * 1024
WITH_FACTORY = """nvs,data,nvs,0x9000,0x4000
otadata,data,ota,0xd000,0x2000
factory,app,factory,0x10000,0x20000
ota_0,app,ota_0,0x30000,0x20000
ota_1,app,ota_1,0x50000,0x20000
"""
CONFIGURATIONS = [
    f"{boot}, {rollback}, {factory}"
    for boot in ("Secure Boot", "no Secure Boot")
    for rollback in ("rollback", "no rollback")
    for factory in ("factory", "no factory")
]


@functools.cache
def firmware(version: str, size: int = IMAGE_BYTES) -> bytes:
    """Signed by the owner; later ones have a higher secure version, which raises the floor."""
    return world.app(version, size=size, secure_version=int(version[0]) - 1)


@functools.cache
def flash(factory: bool, size: int = IMAGE_BYTES) -> bytes:
    """A new board's flash with version 1.0.0."""
    partitions = parse_csv(WITH_FACTORY) if factory else None
    return bytes(flash_content(FLASH_BYTES, firmware("1.0.0", size), partitions))


def efuse(secure_boot: bool) -> EFuse:
    digest = parse_sector(memoryview(firmware("1.0.0"))[-4096:])[0].key_digest
    return EFuse(
        world.MAC,
        chip=world.CHIP,
        secure_boot=2 if secure_boot else 0,
        key_digests=[digest] if secure_boot else [],
    )


def proof(configuration: str, broken: Firmware | None = None, **options: Any) -> Proof:
    """The proof for one of CONFIGURATIONS."""
    secure_boot, rollback, factory = (
        not part.startswith("no ") for part in configuration.split(", ")
    )
    size = options.pop("size", IMAGE_BYTES)
    return Proof(
        flash(factory, size),
        efuse(secure_boot),
        firmware("2.0.0", size),
        rollback=rollback,
        firmware=broken,
        **options,
    )
