"""The certificate extension that carries a layer's measurements, 1.3.6.1.4.1.11129.2.1.24.

Open Profile for DICE, "X.509 Certificates": a SEQUENCE of explicitly tagged optional fields.
Only read here: `certificate_writer` writes it.
"""

from ota_crypto.compat import const

from . import der
from .errors import CertificateError

_HASH_BYTES = const(64)


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
