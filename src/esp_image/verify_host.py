"""Signature verification through `cryptography`, on a workstation: all four schemes.

The same two functions as `verify_board`; both are tested against each other.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from . import chips

_CURVES = {
    chips.ECDSA_P192: ec.SECP192R1,
    chips.ECDSA_P256: ec.SECP256R1,
    chips.ECDSA_P384: ec.SECP384R1,
}


def rsa_steps(n, e, digest, signature):
    """Whether it is an RSA-PSS signature (SHA-256, salt of 32 bytes) over digest, 32 bytes."""
    yield
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    try:
        key = rsa.RSAPublicNumbers(e, n).public_key()
        key.verify(bytes(signature), bytes(digest), scheme, utils.Prehashed(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def ecdsa_steps(scheme, x, y, digest, signature):
    """Whether it is an ECDSA signature over digest. signature: r and s, big endian."""
    yield
    half = len(signature) // 2
    r = int.from_bytes(signature[:half], "big")
    s = int.from_bytes(signature[half:], "big")
    algorithm = hashes.SHA384() if scheme == chips.ECDSA_P384 else hashes.SHA256()
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, _CURVES[scheme]()).public_key()
        key.verify(
            utils.encode_dss_signature(r, s), bytes(digest), ec.ECDSA(utils.Prehashed(algorithm))
        )
    except (InvalidSignature, ValueError):
        return False
    return True
