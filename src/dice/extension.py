"""The certificate extension that carries a layer's measurements, 1.3.6.1.4.1.11129.2.1.24.

Open Profile for DICE, "X.509 Certificates": a SEQUENCE of explicitly tagged optional fields.
"""

from . import der
from .errors import CertificateError

# 1.3.6.1.4.1.11129.2.1.24
OID = b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x01\x18"
PROFILE_NAME = b"openssl.example.p256"
_HASH_BYTES = 64


class DiceExtension:
    """The fields of the extension; None where absent.

    code_hash, configuration_hash, authority_hash: 64 bytes. code_descriptor,
    configuration_value (64 bytes where configuration_hash is None, else the descriptor),
    authority_descriptor: bytes. mode: 0..3. profile_name: bytes.
    """

    def __init__(self, fields):
        (
            self.code_hash,
            self.code_descriptor,
            self.configuration_hash,
            self.configuration_value,
            self.authority_hash,
            self.authority_descriptor,
            self.mode,
            self.profile_name,
        ) = fields


def encode(inputs):
    """The extension's value for these InputValues, DER."""
    fields = [_octets(0, inputs.code_hash)]
    if inputs.code_descriptor:
        fields.append(_octets(1, inputs.code_descriptor))
    if inputs.config_descriptor is None:
        fields.append(_octets(3, inputs.config_value))
    else:
        fields.append(_octets(2, inputs.configuration()))
        fields.append(_octets(3, inputs.config_descriptor))
    fields.append(_octets(4, inputs.authority_hash))
    if inputs.authority_descriptor:
        fields.append(_octets(5, inputs.authority_descriptor))
    fields.append(der.encode(der.context(6), der.encode(der.ENUMERATED, bytes([inputs.mode]))))
    fields.append(der.encode(der.context(7), der.encode(der.UTF8_STRING, PROFILE_NAME)))
    return der.encode(der.SEQUENCE, *fields)


def _octets(number, value):
    return der.encode(der.context(number), der.encode(der.OCTET_STRING, value))


def decode(value):
    """DiceExtension from the extension's value. Raises CertificateError."""
    outer = der.Reader(value)
    sequence = outer.enter(der.SEQUENCE)
    outer.finish("DICE extension")
    fields = [_optional(sequence, number, der.OCTET_STRING) for number in range(6)]
    mode = None
    if sequence.peek() == der.context(6):
        tagged = sequence.enter(der.context(6))
        mode = tagged.integer(der.ENUMERATED)
        tagged.finish("DICE mode")
        if mode > 3:
            raise CertificateError("DICE extension: mode %d, expected 0..3" % mode)
    fields.append(mode)
    fields.append(_optional(sequence, 7, der.UTF8_STRING))
    sequence.finish("DICE extension")
    for number in (0, 2, 4):
        if fields[number] is not None and len(fields[number]) != _HASH_BYTES:
            raise CertificateError(
                "DICE extension: field %d is %d bytes, expected %d"
                % (number, len(fields[number]), _HASH_BYTES)
            )
    return DiceExtension(fields)


def _optional(sequence, number, tag):
    """Field `number` of the sequence if it comes next, else None."""
    if sequence.peek() != der.context(number):
        return None
    tagged = sequence.enter(der.context(number))
    value = tagged.take(tag)
    tagged.finish("DICE extension field %d" % number)
    return value
