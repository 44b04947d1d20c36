"""The firmware to be served: read once into one immutable copy, checked before anyone gets it.

Checked: that it is one whole ESP32 application image with an app descriptor, its checksum and
appended SHA-256. Not checked here: whose signature it carries; every board does that itself.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from esp_image import ImageError, ImageParser
from esp_image.chips import chip_name
from ota_agent.errors import FirmwareError


@dataclass(frozen=True, slots=True)
class Firmware:
    """image: the file's bytes. chip, project, version: from its header and app descriptor.
    sha256: of the file, hex."""

    image: bytes
    chip: str
    project: str
    version: str
    sha256: str


def load_firmware(path: Path) -> Firmware:
    """Read and check the file. Raises FirmwareError, one line with the reason."""
    try:
        image = path.read_bytes()
    except OSError as error:
        raise FirmwareError("unreadable", f"firmware {path}: {error.strerror}") from error
    parser = ImageParser()
    try:
        parser.feed(image)
        parser.close()
    except ImageError as error:
        raise FirmwareError(error.code, f"firmware {path}: {error}") from error
    header, descriptor = parser.header, parser.descriptor
    if header is None or descriptor is None:
        raise FirmwareError("no-descriptor", f"firmware {path}: no app descriptor")
    return Firmware(
        image=image,
        chip=chip_name(header.chip_id),
        project=descriptor.project_name,
        version=descriptor.version,
        sha256=hashlib.sha256(image).hexdigest(),
    )
