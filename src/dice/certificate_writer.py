"""A DICE certificate byte for byte as open-dice's mbedTLS backend writes it.

One deliberate difference: serial numbers are always minimal INTEGERs. For an id that starts with
00 and a byte below 80, the C code writes one that OpenSSL refuses.
"""

import binascii

from . import der, extension, x509

# "valid for ever" of RFC 5280, 4.1.2.5, from the day open-dice chose
_NOT_BEFORE = b"180322235959Z"
_NOT_AFTER = b"99991231235959Z"
# KeyUsage keyCertSign: bit 5, two unused bits
_KEY_CERT_SIGN = b"\x02\x04"


def to_be_signed(authority_id, subject_id, subject_public_key, inputs):
    """TBSCertificate, DER. Ids: 20 bytes; subject_public_key: 65; inputs: InputValues."""
    return der.encode(
        der.SEQUENCE,
        der.encode(der.context(0), der.encode(der.INTEGER, b"\x02")),
        der.encode_integer(subject_id),
        _algorithm(),
        _name(authority_id),
        der.encode(
            der.SEQUENCE,
            der.encode(der.UTC_TIME, _NOT_BEFORE),
            der.encode(der.GENERALIZED_TIME, _NOT_AFTER),
        ),
        _name(subject_id),
        _public_key_info(subject_public_key),
        der.encode(
            der.context(3), der.encode(der.SEQUENCE, *_extensions(authority_id, subject_id, inputs))
        ),
    )


def certificate(to_be_signed, signature):
    """The signed certificate, DER. signature: (r, s)."""
    return der.encode(
        der.SEQUENCE,
        to_be_signed,
        _algorithm(),
        der.encode(der.BIT_STRING, b"\x00", der.encode_ecdsa_signature(*signature)),
    )


def _algorithm():
    return der.encode(der.SEQUENCE, der.encode(der.OBJECT_IDENTIFIER, x509.ECDSA_WITH_SHA512))


def _name(identifier):
    attribute = der.encode(
        der.SEQUENCE,
        der.encode(der.OBJECT_IDENTIFIER, x509.SERIAL_NUMBER),
        der.encode(der.PRINTABLE_STRING, binascii.hexlify(identifier)),
    )
    return der.encode(der.SEQUENCE, der.encode(der.SET, attribute))


def _public_key_info(public_key):
    return der.encode(
        der.SEQUENCE,
        der.encode(
            der.SEQUENCE,
            der.encode(der.OBJECT_IDENTIFIER, x509.EC_PUBLIC_KEY),
            der.encode(der.OBJECT_IDENTIFIER, x509.PRIME256V1),
        ),
        der.encode(der.BIT_STRING, b"\x00", public_key),
    )


def _extensions(authority_id, subject_id, inputs):
    authority = der.encode(der.SEQUENCE, der.encode(der.context(0, False), authority_id))
    yield _extension(x509.AUTHORITY_KEY_IDENTIFIER, False, authority)
    subject = der.encode(der.OCTET_STRING, subject_id)
    yield _extension(x509.SUBJECT_KEY_IDENTIFIER, False, subject)
    yield _extension(x509.KEY_USAGE, True, der.encode(der.BIT_STRING, _KEY_CERT_SIGN))
    is_authority = der.encode(der.SEQUENCE, der.encode(der.BOOLEAN, b"\xff"))
    yield _extension(x509.BASIC_CONSTRAINTS, True, is_authority)
    yield _extension(extension.OID, True, extension.encode(inputs))


def _extension(oid, critical, value):
    return der.encode(
        der.SEQUENCE,
        der.encode(der.OBJECT_IDENTIFIER, oid),
        der.encode(der.BOOLEAN, b"\xff") if critical else b"",
        der.encode(der.OCTET_STRING, value),
    )
