"""Evidence: what a board says of itself in answer to a challenge (protocol.md, section C).

An Entity Attestation Token (RFC 9711) in a COSE_Sign1 (RFC 9052, tag 18), ES256, signed with the
DICE key, whose certificate travels in the header. A board only makes it; reading is
`evidence_reader`'s.
"""

from ota_crypto import p256, sha256, steps
from ota_crypto.compat import const

from . import cbor

MAXIMUM_BYTES = 4096
_COSE_SIGN1_TAG = const(18)
# COSE header parameter x5chain (RFC 9360, 2)
_X5CHAIN = const(33)
# The protected header {1: -7}: alg (RFC 9052, 3.1), ES256 (RFC 9053, 2.1)
_PROTECTED = const(b"\xa1\x01\x26")
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
_CHANNEL = const(-70001)
_IMAGE_DIGEST = const(-70002)
# UEID type RAND (RFC 9711, 4.2.1.1)
_UEID_RAND = const(b"\x01")
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
    payload, signature = yield from sign_steps(private_key, claims)
    return assemble(certificate, payload, signature)


def sign_steps(private_key, claims):
    """(payload, signature) of evidence, bytes, for `assemble`. A generator as `encode_steps`."""
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
    r, s = yield from p256.sign_steps(private_key, sha256(sig_structure(payload)).digest())
    return payload, r.to_bytes(32, "big") + s.to_bytes(32, "big")


def assemble(certificate, payload, signature):
    """Evidence, bytes, from its parts. Raises ValueError if it is longer than 4096 bytes."""
    message = [_PROTECTED, {_X5CHAIN: bytes(certificate)}, payload, signature]
    data = cbor.encode(cbor.Tagged(_COSE_SIGN1_TAG, message))
    if len(data) > MAXIMUM_BYTES:
        raise ValueError("evidence of %d bytes, at most %d" % (len(data), MAXIMUM_BYTES))
    return data


def sig_structure(payload):
    """What is signed (RFC 9052, 4.4), without external data."""
    return cbor.encode(["Signature1", _PROTECTED, b"", payload])


def decode(data):
    """Evidence from bytes; see evidence_reader.decode."""
    from . import evidence_reader

    return evidence_reader.decode(data)
