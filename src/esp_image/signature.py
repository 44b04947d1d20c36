"""Whose signature counts: Secure Boot V2 sectors against trusted keys.

Strict: every block present has to be valid, not only the trusted one (the ROM stops at the first
that is). Not computed here: the digest of the image (`readback`, which also says where it ends).
"""

from . import chip_table, compat
from .compat import const
from .errors import ImageError

_DIGEST_BYTES = const(32)
_SHORT_DIGEST_BYTES = const(16)


def parse_sector(sector):
    """The blocks of a signature sector; see signature_block.parse_sector, loaded for it."""
    from . import signature_block

    return signature_block.parse_sector(sector)


def verify_steps(sector, image_digest, trusted, revoked=(), only_first_block=False, chip_id=None):
    """Verify a Secure Boot V2 signature sector; yields between pieces of work.

    sector: 4096 bytes. image_digest: SHA-256 of the padded image (SHA-384, 48 bytes, for P-384).
    trusted: key digests of 32 bytes (for the ESP32-C2 also 16), at least one of which has to sign;
    None takes any key, for reading whose an image is. revoked: key digests that do not count.
    only_first_block: exactly one block, in position 0, as where the trust comes from the running
    image's own signature. chip_id: as in the header; where the chip looks at block 0 only (ESP32,
    ESP32-C2), the trusted key has to be that one's.

    Returns the key digest that counted, 32 bytes. Raises ImageError: `unsigned`,
    `signature-invalid`, `extra-block`, `digest-mismatch`, `key-untrusted`, `key-revoked`,
    `scheme-unsupported`.
    """
    return (
        yield from verify_blocks_steps(
            parse_sector(sector), image_digest, trusted, revoked, only_first_block, chip_id
        )
    )


def verify(sector, image_digest, trusted, revoked=(), only_first_block=False, chip_id=None):
    """verify_steps in one go."""
    from ota_crypto.steps import run

    return run(verify_steps(sector, image_digest, trusted, revoked, only_first_block, chip_id))


def verify_blocks_steps(blocks, image_digest, trusted, revoked, only_first_block, chip_id):
    """verify_steps over a sector that has been parsed. What is cheap to refuse comes first. The
    blocks are of no use afterwards."""
    if only_first_block and len(blocks) > 1:
        raise ImageError(
            "extra-block",
            "%d signature blocks, exactly one is taken when the running image's own signature "
            "is what is trusted" % len(blocks),
        )
    for block in blocks:
        if block.image_digest != image_digest:
            raise ImageError(
                "digest-mismatch",
                "signature block %d is over another image" % block.position,
            )
    counted = _counting_block(blocks, trusted, revoked, chip_table.signing_limits(chip_id))
    for block in blocks:
        if not (yield from _signature_steps(block)):
            raise ImageError(
                "signature-invalid", "signature block %d: the signature is wrong" % block.position
            )
    return counted.key_digest


def _counting_block(blocks, trusted, revoked, limits):
    """The first block whose key is trusted and not revoked."""
    looked_at, key_digest_bytes = limits
    _check_digests(trusted or (), key_digest_bytes)
    revoked_seen = False
    for block in blocks[:looked_at]:
        if trusted is not None and not _holds(trusted, block.key_digest):
            continue
        if _holds(revoked, block.key_digest):
            revoked_seen = True
            continue
        return block
    if revoked_seen:
        raise ImageError("key-revoked", "the image is signed by a revoked key")
    raise ImageError(
        "key-untrusted",
        "none of %d signature blocks that count is by a trusted key" % len(blocks),
    )


def _holds(digests, key_digest):
    """Whether key_digest is among them; those of 16 bytes stand for their beginning."""
    return any(bytes(digest) == key_digest[: len(digest)] for digest in digests)


def _check_digests(digests, key_digest_bytes):
    for digest in digests:
        if len(digest) not in (_DIGEST_BYTES, key_digest_bytes):
            raise ValueError("trusted key digest: expected 32 bytes, got %d" % len(digest))


def _signature_steps(block):
    """Whether the block's signature is right; yields in between."""
    if block.scheme == chip_table.RSA:
        from ota_crypto import rsa_pss

        n, e = block.numbers
        steps = rsa_pss.verify_steps(n, e, block.image_digest, block.signature)
        # Held by nobody else: the products need the memory.
        n = block.numbers = block.signature = None
        return (yield from steps)
    x, y = block.numbers
    r, s = halves(block.signature)
    if block.scheme == chip_table.ECDSA_P256:
        point = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
        return (yield from _p256().verify_steps(point, block.image_digest, r, s))
    host = compat.ecdsa_host()
    if host is None:
        raise ImageError(
            "scheme-unsupported", "%s is verified on a workstation only" % block.scheme
        )
    return host.verify(block.scheme, x, y, block.image_digest, r, s)


def _p256():
    from ota_crypto import p256

    return p256


def halves(signature):
    """r and s."""
    half = len(signature) // 2
    return int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
