"""Whose signature counts (architecture.md, Decisions): the first source that is not empty.

eFuse where Secure Boot is on, else the board's configuration, else the running application's
own signature.
"""

from esp_image import ImageError

from .compat import let_go_of_parser
from .errors import OtaError


class Trust:
    """Key digests that an image's signature must come from.

    digests, revoked: lists of 32 bytes. only_first_block: exactly one signature block, in
    position 0, is accepted. source: `efuse`, `configuration`, `running image` or `none`.
    """

    def __init__(self, source, digests, revoked=(), only_first_block=False, unsigned_allowed=False):
        self.source = source
        self.digests = list(digests)
        self.revoked = list(revoked)
        self.only_first_block = only_first_block
        self.unsigned_allowed = unsigned_allowed


def find_trust_steps(board, configured, unsigned_allowed=False):
    """Decide whose signature counts; yields while the running slot is read.

    configured: 32-byte key digests. unsigned_allowed: explicit insecure configuration; counts
    only when no source names a key. Raises OtaError("no-trusted-key") when there is no source.
    """
    if board.secure_boot == 2:
        return Trust("efuse", board.key_digests, board.revoked_digests)
    if configured:
        return Trust("configuration", configured, board.revoked_digests)
    own = yield from _own_key_steps(board.running_partition())
    if own is not None:
        return Trust("running image", [own], only_first_block=True)
    if unsigned_allowed:
        return Trust("none", [], unsigned_allowed=True)
    raise OtaError(
        "no-trusted-key",
        "no key to trust: Secure Boot off, none configured, and the running image is unsigned",
    )


def _own_key_steps(running):
    """Key digest of the running image's one signature block, verified; None if it has none.

    As ESP-IDF's esp_secure_boot_get_signature_blocks_for_running_app, but verified over the
    image, so that bytes left behind an unsigned image cannot name a key.
    """

    from esp_image import readback

    def read(offset, buffer):
        running.readblocks(offset // 4096, buffer, offset % 4096)

    try:
        image = yield from readback.verify_slot_steps(
            read, running.info()[3], trusted=None, only_first_block=True,
            make_room=let_go_of_parser,
        )  # fmt: skip
    except ImageError:
        return None
    return image.key_digest
