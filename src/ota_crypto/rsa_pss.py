"""Verification of RSASSA-PSS signatures (RFC 8017, 8.1.2), as Secure Boot V2 uses them.

Only verification: no private key ever comes here.
"""

from . import backend, steps
from .compat import const
from .hashes import by_name, sizes

_MINIMUM_MODULUS_BITS = const(2048)
_MAXIMUM_MODULUS_BITS = const(4096)


def verify(n, e, digest, signature, hash_name="sha256", salt_bytes=32):
    """Whether `signature` is this key's over a message with this digest.

    n, e: the public key, integers; a modulus of 2048 to 4096 bits and an odd exponent from 3 to
    2**32 - 1, else False. digest: as long as the hash's, else ValueError. signature: bytes, big
    endian, as long as the modulus. The same hash serves MGF1; the salt has exactly salt_bytes.
    """
    return steps.run(verify_steps(n, e, digest, signature, hash_name, salt_bytes))


def verify_steps(n, e, digest, signature, hash_name="sha256", salt_bytes=32):
    """`verify` as a generator, which yields after each product of two numbers modulo n.

    One of 3072 bits takes as long as some 70 of 256 bits.
    """
    digest_bytes = sizes(hash_name)[0]
    if len(digest) != digest_bytes:
        raise ValueError("a %s digest is %d bytes, not %d" % (hash_name, digest_bytes, len(digest)))
    # The signature is as long as the modulus, so the modulus ends in its first byte.
    before = 8 * (len(signature) - 1)
    top = n >> before if before > 0 else 0
    if not (0 < top < 256 and n & 1 and e & 1 and 3 <= e < 1 << 32):
        return False
    modulus_bits = before + _bit_length(top)
    if not _MINIMUM_MODULUS_BITS <= modulus_bits <= _MAXIMUM_MODULUS_BITS:
        return False
    s = int.from_bytes(bytes(signature), "big")
    if s >= n:
        return False
    if backend.is_native():
        from . import rsa_native

        return rsa_native.verify_pss(n, e, digest, signature, hash_name, salt_bytes)
    power = _public_power_steps(s, e, n)
    s = n = signature = None  # what is held while the products are made is theirs
    encoded = yield from power
    return _is_pss_encoding(encoded, modulus_bits - 1, digest, hash_name, salt_bytes)


def _bit_length(n):
    """Of a small number: MicroPython's integers have no bit_length()."""
    bits = 0
    while n >> bits:
        bits += 1
    return bits


def _public_power_steps(base, e, n):
    result = base
    for position in range(_bit_length(e) - 2, -1, -1):
        result = result * result % n
        yield
        if e >> position & 1:
            result = result * base % n
            yield
    return result


def _is_pss_encoding(encoded, bits, digest, hash_name, salt_bytes):
    """EMSA-PSS-VERIFY, RFC 8017, 9.1.2; `bits` is emBits."""
    digest_bytes = len(digest)
    length = (bits + 7) // 8
    if length < digest_bytes + salt_bytes + 2 or encoded >> bits:
        return False
    message = encoded.to_bytes(length, "big")
    if message[-1] != 0xBC:
        return False
    masked_bytes = length - digest_bytes - 1
    hashed = message[masked_bytes:-1]
    block = _unmask(message[:masked_bytes], hashed, hash_name)
    block[0] &= 0xFF >> (8 * length - bits)
    padding_bytes = masked_bytes - salt_bytes - 1
    if bytes(block[:padding_bytes]) != bytes(padding_bytes) or block[padding_bytes] != 1:
        return False
    check = by_name(hash_name)(bytes(8))
    check.update(digest)
    check.update(block[padding_bytes + 1 :])
    return check.digest() == hashed


def _unmask(masked, seed, hash_name):
    """`masked` XOR MGF1(seed), RFC 8017, B.2.1."""
    block = bytearray(masked)
    at = counter = 0
    while at < len(block):
        mask = by_name(hash_name)(seed + counter.to_bytes(4, "big")).digest()
        for byte in mask[: len(block) - at]:
            block[at] ^= byte
            at += 1
        counter += 1
    return block
