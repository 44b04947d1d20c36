"""The fast way to read a certificate that has the very shape the DICE code gives it.

A server reads thousands a second, nearly all of one shape: the bytes that `dice` writes, with
holes for ids, keys and measurements. The pattern is made from its writer, so that there is no
second description of it. Whatever does not match is `certificate.parse`'s to read or to refuse.
"""

import re

from dice import certificate_writer, der
from dice.certificate import MAXIMUM_BYTES, Certificate, parse
from dice.extension import DiceExtension
from dice.input_values import MODE_NORMAL, InputValues
from ota_crypto.p256_curve import PRIME, is_on_curve

# What every certificate of this shape has in common, as `certificate.parse` reads it
_NOT_BEFORE = (2018, 3, 22, 23, 59, 59)
_NOT_AFTER = (9999, 12, 31, 23, 59, 59)
_KEY_USAGE = b"\x02\x04"
_PROFILE_NAME = b"openssl.example.p256"


def read_certificate(der_bytes: bytes) -> Certificate:
    """As `certificate.parse`, a tenth of the time for the usual shape. Raises CertificateError."""
    return read_shaped(der_bytes) or parse(der_bytes)


def read_shaped(data: bytes) -> Certificate | None:
    """The Certificate, equal to what `certificate.parse` returns; None if the shape is another.

    data: DER.
    """
    match = _PATTERN.fullmatch(data) if len(data) <= MAXIMUM_BYTES else None
    if match is None:
        return None
    size, body, serial, issuer, subject, key, authority_id, subject_id = match.group(*range(1, 9))
    code, configuration, authority, mode, signature_size, signature = match.group(*range(9, 15))
    if len(data) != 4 + int.from_bytes(size, "big") or signature_size[0] != 1 + len(signature):
        return None
    pair = _decode_signature(signature)
    x, y = int.from_bytes(key[1:33], "big"), int.from_bytes(key[33:], "big")
    if pair is None or x >= PRIME or y >= PRIME or not is_on_curve(x, y):
        return None
    certificate = Certificate(data)
    certificate.signature = pair
    certificate.to_be_signed = body
    certificate.serial = int.from_bytes(serial, "big")
    certificate.issuer, certificate.subject = issuer, subject
    certificate.not_before, certificate.not_after = _NOT_BEFORE, _NOT_AFTER
    certificate.public_key = key
    certificate.authority_key_id, certificate.subject_key_id = authority_id, subject_id
    certificate.key_usage = _KEY_USAGE
    certificate.is_ca = True
    certificate.dice = DiceExtension(
        (code, None, None, configuration, authority, None, mode[0], _PROFILE_NAME)
    )
    certificate.dice_is_critical = True
    return certificate


def _decode_signature(data: bytes) -> tuple[int, int] | None:
    """(r, s) as `der.decode_ecdsa_signature` finds them; None if anything is unusual."""
    size = len(data)
    if not 8 < size < 0x80 or data[0] != der.SEQUENCE or data[1] != size - 2:
        return None
    middle = 4 + data[3]
    if data[2] != der.INTEGER or middle + 2 >= size or data[middle] != der.INTEGER:
        return None
    if middle + 2 + data[middle + 1] != size:
        return None
    r, s = data[4:middle], data[middle + 2 :]
    if not (_is_minimal(r) and _is_minimal(s)):
        return None
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def _is_minimal(integer: bytes) -> bool:
    """Whether these are the contents of an INTEGER of 2 bytes and more, positive and minimal."""
    if len(integer) < 2 or integer[0] >= 0x80:
        return False
    return integer[0] != 0 or integer[1] >= 0x80


def _make_pattern() -> re.Pattern[bytes]:
    """A certificate as the writer writes it, its values replaced by holes of their size."""
    authority_id, subject_id, key = b"A" * 20, b"B" * 20, b"\x04" + b"K" * 64
    code, configuration, authority = b"C" * 64, b"D" * 64, b"E" * 64
    inputs = InputValues(code, configuration, authority_hash=authority, mode=MODE_NORMAL)
    body = certificate_writer.to_be_signed(authority_id, subject_id, key, inputs)
    mode = b"\xa6\x03\x0a\x01"
    issuer = certificate_writer.name_of_key(authority_id)
    subject = certificate_writer.name_of_key(subject_id)
    pattern = _with_holes(
        body,
        # The serial number, never negative: from the writer, or from the C code with its zeros.
        (subject_id, rb"([\x00-\x7f].{19})"),
        (issuer, b"(" + re.escape(issuer[:-40]) + b".{40})"),
        (subject, b"(" + re.escape(subject[:-40]) + b".{40})"),
        (key, rb"(\x04.{64})"),
        (authority_id, b"(.{20})"),
        (subject_id, b"(.{20})"),
        (code, b"(.{64})"),
        (configuration, b"(.{64})"),
        (authority, b"(.{64})"),
        (mode + bytes([MODE_NORMAL]), re.escape(mode) + rb"([\x00-\x03])"),
    )
    after_body = certificate_writer.certificate(body, (1, 1)).partition(body)[2]
    algorithm = after_body.partition(b"\x03\x09\x00")[0]
    return re.compile(
        rb"\x30\x82(..)(" + pattern + b")" + re.escape(algorithm) + rb"\x03([\x00-\x7f])\x00(.*)",
        re.DOTALL,
    )


def _with_holes(text: bytes, *holes: tuple[bytes, bytes]) -> bytes:
    """A pattern of `text` in which each (value, pattern), in this order, stands for the value."""
    pieces = []
    for value, hole in holes:
        before, _, text = text.partition(value)
        pieces.append(re.escape(before) + hole)
    return b"".join(pieces) + re.escape(text)


_PATTERN = _make_pattern()
