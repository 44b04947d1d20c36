"""A board's secret (UDS), and the NVS partition image that brings it to the board.

The UDS is nowhere but in that image. Which keys hold it: protocol.md, section E, and
`ota_service.uds`, which reads them on the board. Left to others: files, and the registry.
"""

import secrets

import dice
from ota_crypto import wipe
from virtual_esp32.nvs import NVS
from virtual_esp32.nvs_storage import NvsStorage

UDS_BYTES = 32
BLOCK_BYTES = 4096
LEAST_IMAGE_BYTES = 3 * BLOCK_BYTES  # ESP-IDF, "NVS": below it there is no page to move items to

_ERASED = b"\xff" * BLOCK_BYTES
_IOCTL_BLOCK_COUNT = 4
_IOCTL_BLOCK_ERASE = 6


def make(image_bytes: int) -> tuple[bytes, bytearray]:
    """A new random UDS as (root certificate, NVS image).

    image_bytes: the size of the board's nvs partition, a multiple of 4096, at least
    LEAST_IMAGE_BYTES. The root certificate is DER, and public; the image is a secret, for the
    caller to wipe. Not reached by wiping: copies that Python makes while it works.
    """
    uds = bytearray(secrets.token_bytes(UDS_BYTES))
    try:
        return dice.root_certificate(uds), nvs_image(image_bytes, uds)
    finally:
        wipe(uds)


def nvs_image(image_bytes: int, uds: bytearray) -> bytearray:
    """The partition image that holds this UDS (32 bytes), and that the board has one."""
    device = _Memory(image_bytes)
    storage = NvsStorage(device)
    NVS(storage, "dice").set_blob("uds", uds)
    NVS(storage, "ota").set_i32("provisioned", 1)
    return device.content


def holds_values(image: bytes) -> bool:
    """Whether these bytes are an NVS partition with something in it. Raises OSError for one that
    a newer ESP-IDF wrote."""
    return len(image) % BLOCK_BYTES == 0 and bool(
        NvsStorage(_Memory(len(image), image), writable=False).entries()
    )


class _Memory:
    """An nvs partition in memory, erased unless given: what NvsStorage asks of a block device."""

    def __init__(self, size: int, content: bytes | None = None) -> None:
        self.content = bytearray(_ERASED * (size // BLOCK_BYTES) if content is None else content)

    def readblocks(self, block: int, buffer: bytearray | memoryview, offset: int = 0) -> None:
        start = block * BLOCK_BYTES + offset
        buffer[:] = self.content[start : start + len(buffer)]

    def writeblocks(
        self, block: int, buffer: bytes | bytearray | memoryview, offset: int | None = None
    ) -> None:
        """NVS never writes over what is not erased, other than to clear bits of it: here that is
        the same as replacing it."""
        start = block * BLOCK_BYTES + (offset or 0)
        self.content[start : start + len(buffer)] = buffer

    def ioctl(self, operation: int, argument: int) -> int | None:
        if operation == _IOCTL_BLOCK_COUNT:
            return len(self.content) // BLOCK_BYTES
        if operation == _IOCTL_BLOCK_ERASE:
            self.writeblocks(argument, _ERASED)
        return 0
