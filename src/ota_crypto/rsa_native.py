"""RSASSA-PSS verification by the `cryptography` package."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

_HASHES = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}


def verify_pss(n, e, digest, signature, hash_name, salt_bytes):
    """See `rsa_pss.verify`; sizes have been checked."""
    algorithm = _HASHES[hash_name]()
    pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=salt_bytes)
    try:
        key = rsa.RSAPublicNumbers(e, n).public_key()
        key.verify(bytes(signature), bytes(digest), pss, Prehashed(algorithm))
    except (InvalidSignature, ValueError):
        return False
    return True
