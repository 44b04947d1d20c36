"""HKDF (RFC 5869): keys of any length from a secret that has enough entropy."""

from .hashes import sizes
from .hmac import Hmac, digest


def derive(ikm, salt, info, length, hash_name="sha512"):
    """Extract and expand: `length` bytes of key material, at most 255 digests' worth.

    An empty salt means as many zeros as the digest is long (RFC 5869, 2.2).
    Raises ValueError for an unknown hash or length.
    """
    return expand(extract(ikm, salt, hash_name), info, length, hash_name)


def extract(ikm, salt, hash_name="sha512"):
    """The pseudorandom key of RFC 5869, 2.2; as long as the digest."""
    return digest(salt, ikm, hash_name)


def expand(prk, info, length, hash_name="sha512"):
    """Output key material of RFC 5869, 2.3."""
    digest_bytes = sizes(hash_name)[0]
    if not 0 < length <= 255 * digest_bytes:
        raise ValueError("length is 1..%d bytes, not %d" % (255 * digest_bytes, length))
    mac = Hmac(prk, hash_name)
    output = block = b""
    counter = 1
    while len(output) < length:
        block = mac.digest(block, info, bytes([counter]))
        output += block
        counter += 1
    mac.close()
    return output[:length]
