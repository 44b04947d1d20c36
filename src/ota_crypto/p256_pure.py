"""Public keys and signatures on P-256, for runtimes without `cryptography`."""

from .p256 import ORDER
from .p256_comb import multiply_generator_steps
from .p256_curve import PRIME, power_steps


def public_key_steps(private_key):
    """See `p256.public_key`."""
    point = yield from multiply_generator_steps(private_key)
    x, y = yield from _affine_steps(point)
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sign_steps(private_key, digest, hash_name):
    """See `p256.sign`. RFC 6979, 3.2; FIPS 186-5, 6.4.1."""
    from .hmac_drbg import HmacDrbg
    from .memory import wipe

    e = int.from_bytes(digest[:32], "big") % ORDER
    seed = bytearray(private_key.to_bytes(32, "big") + e.to_bytes(32, "big"))
    nonces = HmacDrbg(seed, hash_name)
    wipe(seed)
    yield
    while True:
        k = int.from_bytes(nonces.generate(32), "big")
        if not 0 < k < ORDER:
            continue
        point = yield from multiply_generator_steps(k)
        r = (yield from _affine_steps(point))[0] % ORDER
        inverse = yield from power_steps(k, ORDER - 2, ORDER)
        s = inverse * (e + r * private_key) % ORDER
        if r and s:
            nonces.close()
            return r, s


def _affine_steps(point):
    """(x, y) of a finite point."""
    x, y, z = point
    inverse = yield from power_steps(z, PRIME - 2, PRIME)
    squared = inverse * inverse % PRIME
    return x * squared % PRIME, y * squared * inverse % PRIME
