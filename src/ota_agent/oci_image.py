"""The firmware of one published image: its layers fetched, what is under /firmware/ found, and
whether that is for the chip it is published for.

Not checked here: whether it is a whole and signed image (`firmware`, when it is loaded).
"""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from esp_image import ImageError, chips
from esp_image.header import HEADER_BYTES, parse_header
from ota_agent.errors import ContentError, PullError
from ota_agent.firmware import plain_chip
from ota_agent.oci_layer import FirmwareFiles
from ota_agent.oci_manifest import FIRMWARE_OS, Manifest, read_config
from ota_agent.oci_registry import Registry


@dataclass(frozen=True, slots=True)
class Published:
    """chip: as esptool spells it. path: in the image."""

    chip: str
    path: str
    content: bytes


async def firmware_of(
    registry: Registry, manifest: Manifest, architecture: str | None, scratch: Path
) -> list[Published]:
    """architecture: of the index's platform; None for an image without an index, which is for the
    chip that its firmware is for. scratch: for layers as they come. Raises PullError."""
    config = read_config(await registry.blob(manifest.config))
    files = FirmwareFiles()
    for layer in manifest.layers:
        try:
            with tempfile.TemporaryFile(dir=scratch) as file:
                await registry.download(layer.content, file)
                file.seek(0)
                await asyncio.to_thread(files.apply, file, layer.compression)
        except OSError as error:
            raise PullError(f"cache {scratch}: {error.strerror}") from None
    found = []
    for path, content in _selected(files.files, config.path).items():
        chip = _chip_of(path, content)
        for said in (architecture, config.architecture):
            if said is not None and _chip_named(said) != chip:
                raise ContentError(f"/{path} is for {chip}, published as {FIRMWARE_OS}/{said[:40]}")
        found.append(Published(chip, path, content))
    return found


def _selected(files: Mapping[str, bytes], path: str | None) -> Mapping[str, bytes]:
    """path: the file that a label of the image names; else all are firmware."""
    if path is not None:
        name = path.strip("/")
        if name not in files:
            raise ContentError(f"no file {path[:80]!r} under /firmware/, which a label names")
        return {name: files[name]}
    if not files:
        raise ContentError("no file under /firmware/")
    return files


def _chip_of(path: str, content: bytes) -> str:
    try:
        return chips.chip_name(parse_header(content[:HEADER_BYTES]).chip_id)
    except (ImageError, ValueError) as error:
        raise ContentError(f"/{path}: no firmware: {error}") from None


def _chip_named(architecture: str) -> str:
    name = plain_chip(architecture)
    if name not in chips.CHIPS:
        known = ", ".join(sorted(chips.CHIPS))
        raise ContentError(f"{FIRMWARE_OS}/{architecture[:40]}: expected one of {known}")
    return name
