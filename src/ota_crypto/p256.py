"""ECDSA on the curve P-256 (FIPS 186-5, SEC 1): public keys, deterministic signatures, verifying.

Long operations also come as `..._steps`: generators that yield at least every 100 modular
products and return the result, so that a board can keep answering meanwhile. A public key is a
point as SEC 1 encodes it: 65 bytes (04, x, y) or 33 (02 or 03, x). On CPython the work is
`cryptography`'s; our own is not constant-time.
"""

from . import backend, steps

# The order of the group (SP 800-186, 3.2.1.3); private keys are 1..ORDER-1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_HASH_BY_SIZE = {32: "sha256", 48: "sha384", 64: "sha512"}


_native = None


def _implementation():
    global _native
    if backend.is_native():
        if _native is None:  # an import statement at each call costs a server a hundredth
            from . import p256_native

            _native = p256_native
        return _native
    from . import p256_pure

    return p256_pure


def public_key(private_key):
    """The public point of a private key (an integer), 65 bytes uncompressed.

    Raises ValueError unless 1 <= private_key < ORDER.
    """
    return steps.run(public_key_steps(private_key))


def public_key_steps(private_key):
    """`public_key` as a generator."""
    _check_private_key(private_key)
    return (yield from _implementation().public_key_steps(private_key))


def sign(private_key, digest):
    """The signature (r, s) of a message digest, with the nonce of RFC 6979.

    private_key: an integer. digest: 32, 48 or 64 bytes, of SHA-256, SHA-384 or SHA-512, which
    is also the hash that makes the nonce. Raises ValueError.
    """
    return steps.run(sign_steps(private_key, digest))


def sign_steps(private_key, digest):
    """`sign` as a generator."""
    _check_private_key(private_key)
    hash_name = _check_digest(digest)
    return (yield from _implementation().sign_steps(private_key, digest, hash_name))


def verify(public_key, digest, r, s):
    """Whether (r, s) is a signature of this digest by this key.

    public_key: 65 or 33 bytes. digest: 32, 48 or 64 bytes, else ValueError. False for whatever
    else is wrong: r or s out of range, bytes that are no point of the curve.
    """
    if backend.is_native():
        _check_digest(digest)
        return _is_in_range(r, s) and _implementation().verify(public_key, digest, r, s)
    return steps.run(verify_steps(public_key, digest, r, s))


def verify_steps(public_key, digest, r, s):
    """`verify` as a generator."""
    _check_digest(digest)
    if not _is_in_range(r, s):
        return False
    if backend.is_native():
        return _implementation().verify(public_key, digest, r, s)
    from .p256_verify import verify_steps as implementation

    return (yield from implementation(public_key, digest, r, s))


def compress(public_key):
    """33 bytes from the 65 of an uncompressed point. Raises ValueError for another form.

    Not checked here: whether the point is on the curve.
    """
    if len(public_key) != 65 or public_key[0] != 4:
        raise ValueError("an uncompressed point is 04 and 64 bytes")
    return bytes([2 + (public_key[64] & 1)]) + bytes(public_key[1:33])


def decompress(public_key):
    """65 bytes (04, x, y) from either form, checked to be a point of the curve.

    Costs one square root, some 260 modular products, for a compressed point.
    Raises ValueError for anything else, infinity included.
    """
    from . import p256_verify

    point = steps.run(p256_verify.decode_point_steps(public_key))
    if point is None:
        raise ValueError("not a point of P-256")
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def is_point(public_key):
    """Whether these bytes are an uncompressed point of the curve, not infinity."""
    if len(public_key) != 65 or public_key[0] != 4:
        return False
    from . import p256_curve

    x = int.from_bytes(bytes(public_key[1:33]), "big")
    y = int.from_bytes(bytes(public_key[33:]), "big")
    return max(x, y) < p256_curve.PRIME and p256_curve.is_on_curve(x, y)


def _is_in_range(r, s):
    return 0 < r < ORDER and 0 < s < ORDER


def _check_private_key(private_key):
    if not 0 < private_key < ORDER:
        raise ValueError("a private key is 1..n-1")


def _check_digest(digest):
    """The name of the hash with this digest size."""
    name = _HASH_BY_SIZE.get(len(digest))
    if name is None:
        raise ValueError("a digest is 32, 48 or 64 bytes, not %d" % len(digest))
    return name
