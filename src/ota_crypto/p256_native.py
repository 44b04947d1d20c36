"""P-256 by the `cryptography` package. The generators here never yield: nothing takes long."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CURVE = ec.SECP256R1()
_HASHES = {32: hashes.SHA256, 48: hashes.SHA384, 64: hashes.SHA512}
_PREHASHED = {size: ec.ECDSA(Prehashed(made())) for size, made in _HASHES.items()}


def public_key_steps(private_key):
    """See `p256.public_key`."""
    public = ec.derive_private_key(private_key, _CURVE).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    yield


def sign_steps(private_key, digest, hash_name):
    """See `p256.sign`; hash_name is the one that belongs to the digest's size."""
    try:
        algorithm = ec.ECDSA(Prehashed(_HASHES[len(digest)]()), deterministic_signing=True)
    except UnsupportedAlgorithm:  # built on an OpenSSL before 3.2
        from . import p256_pure

        return (yield from p256_pure.sign_steps(private_key, digest, hash_name))
    key = ec.derive_private_key(private_key, _CURVE)
    return decode_dss_signature(key.sign(bytes(digest), algorithm))


def verify(public_key, digest, r, s):
    """See `p256.verify`; r and s are known to be in range."""
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, bytes(public_key))
        key.verify(encode_dss_signature(r, s), bytes(digest), _PREHASHED[len(digest)])
    except (InvalidSignature, ValueError):
        return False
    return True
