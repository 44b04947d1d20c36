"""Evidence: what a board says of itself in answer to a challenge (protocol.md, section C).

An Entity Attestation Token (RFC 9711) in a COSE_Sign1 (RFC 9052, tag 18), ES256, signed with the
DICE key, whose certificate travels in the header. Not here: whether the certificate chains, and
whether nonce, channel and claims are the right ones.
"""

from ota_crypto import p256, sha256, steps
from ota_crypto.compat import const

from . import cbor
from .errors import EvidenceError

MAXIMUM_BYTES = 4096
_COSE_SIGN1_TAG = const(18)
# COSE header parameter x5chain (RFC 9360, 2)
_X5CHAIN = const(33)
# The protected header {1: -7}: alg (RFC 9052, 3.1), ES256 (RFC 9053, 2.1)
_PROTECTED = b"\xa1\x01\x26"
# Claims: IANA's CWT claims registry as RFC 9711, section 4 fills it; below -65536 private use
# (RFC 8392, 9.1).
#   10      eat_nonce   byte string        section 4.1
#   256     ueid        byte string        section 4.2.1
#   259     hwmodel     byte string        section 4.2.4
#   270     swname      text               section 4.2.6
#   271     swversion   [text]             section 4.2.7
#   -70001  SHA-256 of the agent's leaf certificate, DER: the channel
#   -70002  SHA-256 of the running image
_NONCE = const(10)
_UEID = const(256)
_HWMODEL = const(259)
_SWNAME = const(270)
_SWVERSION = const(271)
_CHANNEL = -70001
_IMAGE_DIGEST = -70002
# UEID type RAND (RFC 9711, 4.2.1.1)
_UEID_RAND = b"\x01"
_DIGEST_BYTES = const(32)
_UEID_BYTES = const(17)


class Claims:
    """What evidence claims.

    nonce: the challenge, 32 bytes. ueid: 17 bytes, see `ueid_of`. hwmodel: the chip, e.g.
    `esp32s3`, str. application, version: of the running firmware, str. channel: SHA-256 of the
    agent's leaf certificate, 32 bytes. image_digest: SHA-256 of the running image, 32 bytes.
    Raises ValueError for byte strings of another size.
    """

    def __init__(self, nonce, ueid, hwmodel, application, version, channel, image_digest):
        for name, value, size in (
            ("nonce", nonce, _DIGEST_BYTES),
            ("ueid", ueid, _UEID_BYTES),
            ("channel", channel, _DIGEST_BYTES),
            ("image_digest", image_digest, _DIGEST_BYTES),
        ):
            if len(value) != size:
                raise ValueError("%s is %d bytes, not %d" % (name, size, len(value)))
        self.nonce = bytes(nonce)
        self.ueid = bytes(ueid)
        self.hwmodel = hwmodel
        self.application = application
        self.version = version
        self.channel = bytes(channel)
        self.image_digest = bytes(image_digest)


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


def ueid_of(root_public_key):
    """The board's UEID, 17 bytes, from its DICE root public key (33 or 65 bytes)."""
    if len(root_public_key) == 65:
        root_public_key = p256.compress(root_public_key)
    if len(root_public_key) != 33:
        raise ValueError("a public key is 33 or 65 bytes, not %d" % len(root_public_key))
    return _UEID_RAND + sha256(root_public_key).digest()[:16]


def encode(private_key, certificate, claims):
    """Evidence, bytes. private_key: the DICE key, an integer; certificate: its DER.

    Raises ValueError if it would be longer than 4096 bytes.
    """
    return steps.run(encode_steps(private_key, certificate, claims))


def encode_steps(private_key, certificate, claims):
    """`encode` as a generator that yields at least every 100 modular products."""
    payload = cbor.encode(
        {
            _NONCE: claims.nonce,
            _UEID: claims.ueid,
            _HWMODEL: claims.hwmodel.encode(),
            _SWNAME: claims.application,
            _SWVERSION: [claims.version],
            _CHANNEL: claims.channel,
            _IMAGE_DIGEST: claims.image_digest,
        }
    )
    r, s = yield from p256.sign_steps(private_key, sha256(_sig_structure(payload)).digest())
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    message = [_PROTECTED, {_X5CHAIN: bytes(certificate)}, payload, signature]
    data = cbor.encode(cbor.Tagged(_COSE_SIGN1_TAG, message))
    if len(data) > MAXIMUM_BYTES:
        raise ValueError("evidence of %d bytes, at most %d" % (len(data), MAXIMUM_BYTES))
    return data


def _sig_structure(payload):
    """What is signed (RFC 9052, 4.4), without external data."""
    return cbor.encode(["Signature1", _PROTECTED, b"", payload])


def decode(data):
    """Evidence from bytes. Raises EvidenceError for anything but what `encode` could have made.

    Claims unknown here are passed over (RFC 9711, 4). Not checked here: signature, certificate,
    and what is claimed.
    """
    if len(data) > MAXIMUM_BYTES:
        raise EvidenceError("evidence of %d bytes, at most %d" % (len(data), MAXIMUM_BYTES))
    outer = cbor.decode(data)
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
    return Evidence(_claims(payload), certificate, _sig_structure(payload), signature)


def _claims(payload):
    claims = cbor.decode(payload)
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
