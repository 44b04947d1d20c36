"""A whole image read back from its slot: what is verified is what will boot.

One pass, one buffer, one digest: the one the signature covers; for an unsigned image its own
appended SHA-256. Not judged here: whether it may be installed (`acceptance`).
"""

from . import compat
from .compat import const
from .errors import ImageError

_CHUNK_BYTES = const(4096)


class SlotImage:
    """A verified image. header, descriptor, segments, image_bytes, total_bytes: as the parser's.

    image_digest: SHA-256 that the signature covers (of the padded image; SHA-384 for P-384); for
    an unsigned image the appended one. sha256: the appended one or None. key_digest: of the key
    that counted (Secure Boot V1: that key), None for an unsigned image.
    """

    def __init__(self, parser):
        self.header = parser.header
        self.descriptor = parser.descriptor
        self.segments = parser.segments
        self.image_bytes = parser.image_bytes
        self.total_bytes = parser.total_bytes
        self.sha256 = parser.sha256
        self.image_digest = parser.sha256
        self.key_digest = None


def verify_slot_steps(
    read,
    slot_bytes,
    trusted=(),
    revoked=(),
    only_first_block=False,
    unsigned_allowed=False,
    first16=None,
    bootloader=False,
    v1_keys=None,
    take_buffer=None,
    make_room=None,
):
    """Verify the image at the start of a slot; yields after every 4096 bytes.

    read(offset, buffer): fills the buffer from the slot. slot_bytes: the slot's size.
    trusted, revoked, only_first_block: as signature.verify_steps; an empty `trusted` trusts
    nobody. unsigned_allowed: with an empty `trusted`, take any image whose appended SHA-256 is
    right and look at no signature, as a bootloader without Secure Boot does.
    first16: the image's first 16 bytes, used in place of the slot's. bootloader: a second-stage
    bootloader. v1_keys: Secure Boot V1 instead, with these public keys (signature_v1).
    take_buffer(): gives a memoryview of 4096 bytes to read into; one is allocated without it. It is
    not held any more when the image has been read: verifying has big numbers to hold.
    make_room: called when the image has been read, and when its signature sector has, before the
    signature is verified; nothing of `parser`, `segments`, `header` and `signature_block` is held
    any more then, and the SlotImage has no header, descriptor and segments.
    Returns a SlotImage. Raises ImageError, as the parser and signature.verify_steps, and
    `hash-missing` for an unsigned image without appended SHA-256. Allocates, beside the buffer,
    what verifying a signature takes.
    """
    if v1_keys is not None:
        form = "v1"
    else:
        form = not (unsigned_allowed and trusted is not None and not trusted)
    # Not here: on MicroPython this frame would keep what it has called with.
    image, chip_id, signed_bytes, trailer = yield from _image_steps(
        read, slot_bytes, form, first16, bootloader, take_buffer
    )
    if make_room is not None:
        image.header = image.descriptor = image.segments = None
        make_room()
    if not form:
        if image.image_digest is None:
            raise ImageError("hash-missing", "an unsigned image without appended SHA-256")
        return image
    if form == "v1":
        from . import signature_v1

        steps = signature_v1.verify_v1_steps(trailer, image.image_digest, v1_keys)
    else:
        blocks = _read_blocks(read, signed_bytes)
        if make_room is not None:
            make_room()
        from . import signature

        if blocks[0].digest_name != "sha256":
            image.image_digest = yield from _sha384_steps(read, signed_bytes, first16)
        steps = signature.verify_blocks_steps(
            blocks, image.image_digest, trusted, revoked, only_first_block, chip_id
        )
    image.key_digest = yield from steps
    return image


def _read_blocks(read, signed_bytes):
    """In a frame of its own, which alone holds what reads them."""
    from . import signature_block

    return signature_block.read_sector(read, signed_bytes)


def _image_steps(read, slot_bytes, form, first16, bootloader, take_buffer):
    """(SlotImage, chip id, bytes that a signature covers, Secure Boot V1 trailer) of a slot."""
    from .parser import ImageParser

    parser = ImageParser(form, slot_bytes, bootloader, hash=not form, ignore_rest=True)
    digest = compat.sha256() if form else None
    view = memoryview(bytearray(_CHUNK_BYTES)) if take_buffer is None else take_buffer()
    yield from _read_steps(read, slot_bytes, first16, parser, digest, view)
    image = SlotImage(parser)
    if form:
        image.image_digest = digest.digest()
    return image, parser.header.chip_id, parser.signed_bytes, parser.v1_trailer


def verify_slot(
    read,
    slot_bytes,
    trusted=(),
    revoked=(),
    only_first_block=False,
    unsigned_allowed=False,
    first16=None,
    bootloader=False,
    v1_keys=None,
):
    """verify_slot_steps in one go."""
    from ota_crypto.steps import run

    return run(verify_slot_steps(
        read, slot_bytes, trusted, revoked, only_first_block, unsigned_allowed, first16,
        bootloader, v1_keys,
    ))  # fmt: skip


def _read_steps(read, slot_bytes, first16, parser, digest, view):
    """Feed the slot to the parser, and its signed part to the digest.

    Up to the image's end, or to the signature sector, which is the caller's.
    """
    offset = 0
    while not parser.is_complete:
        if offset >= slot_bytes:
            parser.close()
        chunk = view if slot_bytes - offset >= _CHUNK_BYTES else view[: slot_bytes - offset]
        read(offset, chunk)
        if first16 is not None and not offset:
            chunk[: len(first16)] = first16
        parser.feed(chunk)
        if digest is not None:
            _hash_signed(digest, chunk, offset, parser.signed_bytes)
        offset += len(chunk)
        yield
        if parser.is_at_sector:
            return


def _hash_signed(digest, chunk, offset, signed_bytes):
    if signed_bytes is None or offset + len(chunk) <= signed_bytes:
        digest.update(chunk)
    elif offset < signed_bytes:
        digest.update(chunk[: signed_bytes - offset])


def _sha384_steps(read, signed_bytes, first16):
    """The digest for P-384, in a pass of its own: which one it is stands behind the image."""
    if compat.sha384 is None:
        raise ImageError("scheme-unsupported", "ECDSA P-384 is verified on a workstation only")
    digest = compat.sha384()
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    for offset in range(0, signed_bytes, _CHUNK_BYTES):
        read(offset, chunk)
        if first16 is not None and not offset:
            chunk[: len(first16)] = first16
        digest.update(chunk)
        yield
    return digest.digest()
