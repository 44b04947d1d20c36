"""A DICE certificate byte for byte as open-dice's mbedTLS backend writes it.

One deliberate difference: serial numbers are always minimal INTEGERs. For an id that starts with
00 and a byte below 80, the C code writes one that OpenSSL refuses.
"""

import binascii

from ota_crypto.compat import const

from . import x509
from .der_writer import encode, encode_ecdsa_signature, encode_integer

# Tags: X.690, 8.1.2
_BOOLEAN = const(0x01)
_INTEGER = const(0x02)
_BIT_STRING = const(0x03)
_OCTET_STRING = const(0x04)
_OBJECT_IDENTIFIER = const(0x06)
_ENUMERATED = const(0x0A)
_UTF8_STRING = const(0x0C)
_PRINTABLE_STRING = const(0x13)
_UTC_TIME = const(0x17)
_GENERALIZED_TIME = const(0x18)
_SEQUENCE = const(0x30)
_SET = const(0x31)
_CONTEXT = const(0xA0)
_CONTEXT_PRIMITIVE = const(0x80)

# "valid for ever" of RFC 5280, 4.1.2.5, from the day open-dice chose
_NOT_BEFORE = const(b"180322235959Z")
_NOT_AFTER = const(b"99991231235959Z")
# KeyUsage keyCertSign: bit 5, two unused bits
_KEY_CERT_SIGN = const(b"\x02\x04")
_PROFILE_NAME = const(b"openssl.example.p256")


def to_be_signed(authority_id, subject_id, subject_public_key, inputs):
    """TBSCertificate, DER. Ids: 20 bytes; subject_public_key: 65; inputs: InputValues."""
    validity = encode(_UTC_TIME, _NOT_BEFORE) + encode(_GENERALIZED_TIME, _NOT_AFTER)
    extensions = b"".join(_extensions(authority_id, subject_id, inputs))
    return encode(
        _SEQUENCE,
        encode(_CONTEXT, encode(_INTEGER, b"\x02")),
        encode_integer(subject_id),
        _algorithm(),
        name_of_key(authority_id),
        encode(_SEQUENCE, validity),
        name_of_key(subject_id),
        _public_key_info(subject_public_key),
        encode(_CONTEXT | 3, encode(_SEQUENCE, extensions)),
    )


def certificate(to_be_signed, signature):
    """The signed certificate, DER. signature: (r, s)."""
    signature = encode_ecdsa_signature(*signature)
    return encode(_SEQUENCE, to_be_signed, _algorithm(), encode(_BIT_STRING, b"\x00", signature))


def _algorithm():
    return encode(_SEQUENCE, _oid(x509.ECDSA_WITH_SHA512))


def _oid(value):
    return encode(_OBJECT_IDENTIFIER, value)


def name_of_key(identifier):
    """The Name of a key with this id of 20 bytes: its serialNumber attribute, in hex. DER."""
    text = encode(_PRINTABLE_STRING, binascii.hexlify(identifier))
    attribute = encode(_SEQUENCE, _oid(x509.SERIAL_NUMBER), text)
    return encode(_SEQUENCE, encode(_SET, attribute))


def _public_key_info(public_key):
    algorithm = encode(_SEQUENCE, _oid(x509.EC_PUBLIC_KEY), _oid(x509.PRIME256V1))
    return encode(_SEQUENCE, algorithm, encode(_BIT_STRING, b"\x00", public_key))


def _extensions(authority_id, subject_id, inputs):
    authority = encode(_SEQUENCE, encode(_CONTEXT_PRIMITIVE, authority_id))
    yield _extension(x509.AUTHORITY_KEY_IDENTIFIER, False, authority)
    subject = encode(_OCTET_STRING, subject_id)
    yield _extension(x509.SUBJECT_KEY_IDENTIFIER, False, subject)
    yield _extension(x509.KEY_USAGE, True, encode(_BIT_STRING, _KEY_CERT_SIGN))
    yield _extension(x509.BASIC_CONSTRAINTS, True, encode(_SEQUENCE, encode(_BOOLEAN, b"\xff")))
    measured = encode(_SEQUENCE, *_measurements(inputs))
    yield _extension(x509.DICE_EXTENSION, True, measured)


def _extension(oid, critical, value):
    flag = encode(_BOOLEAN, b"\xff") if critical else b""
    return encode(_SEQUENCE, _oid(oid), flag, encode(_OCTET_STRING, value))


def _measurements(inputs):
    """The fields of the DICE extension (see `extension`) for these InputValues."""
    yield _octets(0, inputs.code_hash)
    if inputs.code_descriptor:
        yield _octets(1, inputs.code_descriptor)
    if inputs.config_descriptor is None:
        yield _octets(3, inputs.config_value)
    else:
        yield _octets(2, inputs.configuration())
        yield _octets(3, inputs.config_descriptor)
    yield _octets(4, inputs.authority_hash)
    if inputs.authority_descriptor:
        yield _octets(5, inputs.authority_descriptor)
    yield encode(_CONTEXT | 6, encode(_ENUMERATED, bytes([inputs.mode])))
    yield encode(_CONTEXT | 7, encode(_UTF8_STRING, _PROFILE_NAME))


def _octets(number, value):
    return encode(_CONTEXT | number, encode(_OCTET_STRING, value))
