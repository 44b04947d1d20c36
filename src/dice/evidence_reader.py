"""Reading evidence (evidence.py): what came, and whose signature it has.

Not here: whether the certificate chains, and whether nonce, channel and claims are the right ones.
"""

from ota_crypto import p256, sha256
from ota_crypto.compat import const

from . import cbor, cbor_reader
from .errors import EvidenceError
from .evidence import MAXIMUM_BYTES, Claims, sig_structure

# Labels and numbers as in evidence.py, where their sources stand
_COSE_SIGN1_TAG = const(18)
_X5CHAIN = const(33)
_PROTECTED = const(b"\xa1\x01\x26")
_NONCE = const(10)
_UEID = const(256)
_HWMODEL = const(259)
_SWNAME = const(270)
_SWVERSION = const(271)
_CHANNEL = const(-70001)
_IMAGE_DIGEST = const(-70002)


class Evidence:
    """Decoded evidence: claims, certificate (DER, of whoever claims) and what was signed."""

    def __init__(self, claims, certificate, signed, signature):
        self.claims = claims
        self.certificate = certificate
        self._signed = signed
        self._signature = signature

    def is_signed_by(self, public_key):
        """Whether this key (33 or 65 bytes) signed: the certificate's, once that is trusted."""
        r = int.from_bytes(self._signature[:32], "big")
        s = int.from_bytes(self._signature[32:], "big")
        return p256.verify(public_key, sha256(self._signed).digest(), r, s)


def decode(data):
    """Evidence from bytes. Raises EvidenceError for anything but what `encode` could have made.

    Claims unknown here are passed over (RFC 9711, 4). Not checked here: signature, certificate,
    and what is claimed.
    """
    if len(data) > MAXIMUM_BYTES:
        raise EvidenceError("evidence of %d bytes, at most %d" % (len(data), MAXIMUM_BYTES))
    outer = cbor_reader.decode(data)
    if not isinstance(outer, cbor.Tagged) or outer.tag != _COSE_SIGN1_TAG:
        raise EvidenceError("evidence: not a COSE_Sign1 (tag 18)")
    if not isinstance(outer.value, list) or len(outer.value) != 4:
        raise EvidenceError("evidence: a COSE_Sign1 is an array of 4")
    protected, unprotected, payload, signature = outer.value
    if protected != _PROTECTED:
        raise EvidenceError("evidence: the protected header is not {1: -7} (ES256)")
    if not isinstance(unprotected, dict) or list(unprotected) != [_X5CHAIN]:
        raise EvidenceError("evidence: the unprotected header is not {33: certificate}")
    certificate = unprotected[_X5CHAIN]
    if not isinstance(certificate, bytes) or not isinstance(payload, bytes):
        raise EvidenceError("evidence: certificate and payload are byte strings")
    if not isinstance(signature, bytes) or len(signature) != 64:
        raise EvidenceError("evidence: the signature is not 64 bytes")
    return Evidence(_claims(payload), certificate, sig_structure(payload), signature)


def _claims(payload):
    claims = cbor_reader.decode(payload)
    if not isinstance(claims, dict):
        raise EvidenceError("evidence: the payload is not a map")
    version = _claim(claims, _SWVERSION, list)
    if len(version) != 1 or not isinstance(version[0], str):
        raise EvidenceError("evidence: claim 271 is not an array of one text")
    try:
        return Claims(
            nonce=_claim(claims, _NONCE, bytes),
            ueid=_claim(claims, _UEID, bytes),
            hwmodel=_claim(claims, _HWMODEL, bytes).decode(),
            application=_claim(claims, _SWNAME, str),
            version=version[0],
            channel=_claim(claims, _CHANNEL, bytes),
            image_digest=_claim(claims, _IMAGE_DIGEST, bytes),
        )
    except ValueError as error:
        raise EvidenceError("evidence: %s" % error)


def _claim(claims, label, kind):
    value = claims.get(label)
    if not isinstance(value, kind):
        raise EvidenceError("evidence: claim %d is missing or of another type" % label)
    return value
