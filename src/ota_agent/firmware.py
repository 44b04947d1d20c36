"""The firmware to be served: one immutable copy, checked before anyone gets it.

Checked: that it is one whole ESP32 application image with an app descriptor, its checksum and
appended SHA-256, and its signatures (Secure Boot V2). Not checked here: whether a board may
install it (chip, version, project); every board does that itself.
"""

import fcntl
import hashlib
import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esp_image import ImageError, ImageParser
from esp_image.chips import chip_name
from esp_image.in_memory import reader
from esp_image.readback import verify_slot
from ota_agent.errors import FirmwareError

# What the bootloader verifies at most (ESP-IDF esp_image_format.c, SIXTEEN_MB); ImageParser takes
# no more either, but would have the whole file in memory by then.
_MOST_BYTES = 16 * 1024 * 1024
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signature is asked for. digests: SHA-256 key digests, 32 bytes each; None: anyone's.
    unsigned_allowed: an image without a signature sector will do as well."""

    digests: Sequence[bytes] | None = None
    unsigned_allowed: bool = False


@dataclass(frozen=True, slots=True)
class Firmware:
    """image: the bytes, in memory that nobody can change. chip, project, version, secure_version:
    from its header and app descriptor. sha256: of the file, hex. digests: what a board may call the
    SHA-256 of this image, hex: of the file, of what the signature covers, the appended one. signer:
    key digest, hex, or None."""

    image: memoryview
    chip: str
    project: str
    version: str
    secure_version: int
    sha256: str
    digests: frozenset[str]
    signer: str | None

    @property
    def name(self) -> str:
        """As a log names it."""
        return f"{self.project or '(no project)'} {self.version or '(no version)'} {self.chip}"


def plain_chip(name: str) -> str:
    """A chip's name as esptool spells it (esp32s3), of any spelling (ESP32-S3)."""
    return name.lower().replace("-", "")


def load_firmware(path: Path, trust: Trust) -> Firmware:
    """Copy and check the file. Raises FirmwareError, one line with the reason.

    The copy is made first and then checked: what is checked is what is served, whatever happens
    to the file.
    """
    image = _sealed_copy(path)
    try:
        return _check(image, trust)
    except ImageError as error:
        raise FirmwareError(error.code, f"firmware {path}: {error.code}: {error}") from error


def _sealed_copy(path: Path) -> memoryview:
    content = _content_of(path)
    try:
        handle = os.memfd_create("firmware", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(handle, "wb") as memory:
            memory.write(content)
            memory.flush()
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            return memoryview(mmap.mmap(handle, len(content), mmap.MAP_SHARED, mmap.PROT_READ))
    except OSError as error:
        reason = f"firmware {path}: no copy in memory: {error.strerror}"
        raise FirmwareError("not-copied", reason) from error


def _content_of(path: Path) -> bytes:
    try:
        # By an opener, since open() closes only what it has opened itself: a directory is an
        # error to it after that.
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FirmwareError("unreadable", f"firmware {path}: not a regular file")
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise FirmwareError("unreadable", f"firmware {path}: {error.strerror}") from error
    except MemoryError as error:
        raise FirmwareError("not-copied", f"firmware {path}: out of memory") from error
    if not content:
        raise FirmwareError("truncated", f"firmware {path}: the file is empty")
    if len(content) > _MOST_BYTES:
        raise FirmwareError("too-large", f"firmware {path}: larger than {_MOST_BYTES} bytes")
    return content


def _open_at_once(path: str, flags: int) -> int:
    """A pipe or a device is neither waited for nor read."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check(image: memoryview, trust: Trust) -> Firmware:
    parser = ImageParser(signed=None)
    parser.feed(image)
    parser.close()
    header, descriptor = parser.header, parser.descriptor
    if header is None or descriptor is None:
        raise ImageError("no-descriptor", "no app descriptor")
    sha256 = hashlib.sha256(image).hexdigest()
    digests = {sha256}
    if parser.signature_sector is not None:
        digests.add(hashlib.sha256(image[: -len(parser.signature_sector)]).hexdigest())
    if parser.sha256 is not None:
        digests.add(parser.sha256.hex())
    return Firmware(
        image=image,
        chip=chip_name(header.chip_id),
        project=descriptor.project_name,
        version=descriptor.version,
        secure_version=descriptor.secure_version,
        sha256=sha256,
        digests=frozenset(digests),
        signer=_signer(image, parser, trust),
    )


def _signer(image: memoryview, parser: ImageParser, trust: Trust) -> str | None:
    """Raises ImageError unless every signature is valid and one is by a key that is trusted."""
    if parser.signature_sector is None:
        if not trust.unsigned_allowed:
            raise ImageError(
                "unsigned",
                "no signature (Secure Boot V2); sign it with `ota-service image sign`, or serve it"
                " with --allow-unsigned to boards that take unsigned images",
            )
        return None
    slot = verify_slot(reader(image), len(image), trusted=trust.digests)
    return slot.key_digest.hex() if slot.key_digest is not None else None
