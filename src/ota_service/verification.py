"""What stands in the slot is read back and judged: those bytes will boot, not those that came."""

from esp_image import ImageError, readback

from .compat import const, let_go_of_parser
from .errors import OtaError

# What the stream did not tell; all else about an image it did.
_ABOUT_THE_SIGNATURE = const(
    (
        "digest-mismatch",
        "extra-block",
        "hash-missing",
        "key-revoked",
        "key-untrusted",
        "scheme-unsupported",
        "signature-invalid",
    )
)


def verify_steps(read, slot_bytes, trust, writer):
    """Verify the image in a slot; a generator that yields between sectors. Raises OtaError.

    read(offset, buffer): fills the buffer from the slot. trust: a trust.Trust. writer: the
    SlotWriter that has written it, which gives its buffer and the bytes that it has withheld.
    """
    try:
        yield from readback.verify_slot_steps(
            read,
            slot_bytes,
            trusted=trust.digests,
            revoked=trust.revoked,
            only_first_block=trust.only_first_block,
            unsigned_allowed=trust.unsigned_allowed,
            first16=writer.withheld,
            take_buffer=writer.take_buffer,
            make_room=let_go_of_parser,
        )
    except ImageError as error:
        if error.code in _ABOUT_THE_SIGNATURE:
            raise OtaError(error.code, error.message)
        # The same bytes passed as a stream.
        raise OtaError("flash-mismatch", "what was read back is not what came: %s" % error.message)
