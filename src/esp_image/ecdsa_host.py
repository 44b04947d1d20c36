"""ECDSA on the curves that are verified on a workstation only: P-192 and P-384.

Through `cryptography`; nothing that runs on a board imports this module. P-256 is ota_crypto's.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import chips

_CURVES = {
    chips.ECDSA_P192: (ec.SECP192R1, hashes.SHA256),
    chips.ECDSA_P384: (ec.SECP384R1, hashes.SHA384),
}


def verify(scheme, x, y, digest, r, s):
    """Whether (r, s) is a signature of this digest by the key (x, y); all but digest integers."""
    curve, algorithm = _CURVES[scheme]
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
        signature = utils.encode_dss_signature(r, s)
        key.verify(signature, bytes(digest), ec.ECDSA(utils.Prehashed(algorithm())))
    except (InvalidSignature, ValueError):
        return False
    return True
