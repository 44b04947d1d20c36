"""A slot of flash in memory, and the verdict on it."""

from esp_image import ImageError, readback

SLOT_BYTES = 0x20000


class Slot:
    """`image` at the start of erased flash; `raw` may be changed."""

    def __init__(self, image, size=SLOT_BYTES):
        self.raw = bytearray(image.ljust(size, b"\xff"))
        self.reads = self.bytes_read = 0

    def read(self, offset, buffer):
        buffer[:] = self.raw[offset : offset + len(buffer)]
        self.reads += 1
        self.bytes_read += len(buffer)


def verify(image, **options):
    """The SlotImage that reading `image` back gives."""
    slot = Slot(image)
    return readback.verify_slot(slot.read, len(slot.raw), **options)


def code_of(call, *arguments, **options):
    """Code of the ImageError that a call raises, `ok` if it returns."""
    try:
        call(*arguments, **options)
    except ImageError as error:
        return error.code
    return "ok"


def verdict(image, **options):
    """`ok` or the code of the refusal."""
    return code_of(verify, image, **options)
