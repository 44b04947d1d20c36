"""Public keys as files, on a workstation: PEM to the key digest that a board trusts.

Needs `cryptography`; nothing that runs on a board imports this module.
"""

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from . import chips
from .key_digest import ecdsa_key_digest, rsa_key_digest

_SCHEMES = {
    "secp192r1": chips.ECDSA_P192,
    "secp256r1": chips.ECDSA_P256,
    "secp384r1": chips.ECDSA_P384,
}


def key_digest_of_public_key(pem):
    """Key digest, 32 bytes, of a Secure Boot V2 key: RSA-3072, ECDSA P-192, P-256 or P-384.

    pem: bytes of a PEM file; of a private key the public half counts.
    Raises ValueError for anything else. Source: espsecure digest-sbv2-public-key.
    """
    key = _load(pem)
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return rsa_key_digest(numbers.n, numbers.e)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _SCHEMES:
        numbers = key.public_numbers()
        return ecdsa_key_digest(_SCHEMES[key.curve.name], numbers.x, numbers.y)
    raise ValueError("expected an RSA-3072 or ECDSA P-192, P-256 or P-384 key")


def v1_public_key(pem):
    """The 64 bytes of a Secure Boot V1 key (P-256), x and y big endian. Raises ValueError."""
    key = _load(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("expected an ECDSA P-256 key")
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _load(pem):
    if b"PRIVATE KEY" in pem:
        return load_pem_private_key(pem, password=None).public_key()
    return load_pem_public_key(pem)
