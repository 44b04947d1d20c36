"""Certificates for attacks, signed by a board's real root key, so that what a test makes wrong is
the only thing wrong.

`Parts` is a certificate taken apart: every field a whole DER element, to be replaced by any other
bytes. With nothing replaced it gives the board's own certificate, byte for byte.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import dice
from dice import der, keys, x509
from dice.der_writer import encode, encode_ecdsa_signature
from ota_crypto import p256, sha512
from tests.dice_auth.boards import board

NULL = b"\x05\x00"
TRUE = encode(der.BOOLEAN, b"\xff")
KEY_CERT_SIGN = b"\x02\x04"

# Where each extension of a board's certificate stands
AUTHORITY_KEY_ID, SUBJECT_KEY_ID, KEY_USAGE, BASIC_CONSTRAINTS, DICE = range(5)
EXTENSION_NAMES = (
    "authority key id",
    "subject key id",
    "key usage",
    "basic constraints",
    "DICE extension",
)


@cache
def root_key(number: int) -> int:
    """The private key under the root of `board(number)`."""
    mac = bytes.fromhex(board(number).board_id.replace(":", ""))
    return keys.private_key_from_cdi(dice.uds_from_mac(mac))


def signature_by(number: int) -> Callable[[bytes], bytes]:
    """Signs as the root of `board(number)` does."""

    def sign(to_be_signed: bytes) -> bytes:
        return encode_ecdsa_signature(*p256.sign(root_key(number), sha512(to_be_signed).digest()))

    return sign


def sequence(*parts: bytes) -> bytes:
    return encode(der.SEQUENCE, *parts)


def integer(contents: bytes) -> bytes:
    """With any contents, also what is no INTEGER."""
    return encode(der.INTEGER, contents)


def bit_string(contents: bytes, unused_bits: int = 0) -> bytes:
    return encode(der.BIT_STRING, bytes([unused_bits]), contents)


def algorithm(oid: bytes, *parameters: bytes) -> bytes:
    return sequence(encode(der.OBJECT_IDENTIFIER, oid), *parameters)


def name(text: str, *, tag: int = der.PRINTABLE_STRING) -> bytes:
    attribute = sequence(
        encode(der.OBJECT_IDENTIFIER, x509.SERIAL_NUMBER), encode(tag, text.encode())
    )
    return sequence(encode(der.SET, attribute))


def utc_time(text: str) -> bytes:
    return encode(der.UTC_TIME, text.encode())


def generalized_time(text: str) -> bytes:
    return encode(der.GENERALIZED_TIME, text.encode())


def extension(oid: bytes, value: bytes, critical: bytes = TRUE) -> bytes:
    """critical: the BOOLEAN, or nothing."""
    return sequence(encode(der.OBJECT_IDENTIFIER, oid), critical, encode(der.OCTET_STRING, value))


def authority_key_id(key_id: bytes) -> bytes:
    value = sequence(encode(der.context(0, constructed=False), key_id))
    return extension(x509.AUTHORITY_KEY_IDENTIFIER, value, b"")


def key_usage(contents: bytes) -> bytes:
    """contents: of the BIT STRING, the count of unused bits first."""
    return extension(x509.KEY_USAGE, encode(der.BIT_STRING, contents))


def basic_constraints(*parts: bytes) -> bytes:
    return extension(x509.BASIC_CONSTRAINTS, sequence(*parts))


def dice_extension(*fields: bytes) -> bytes:
    return extension(x509.DICE_EXTENSION, sequence(*fields))


def public_key_info(point: bytes, curve: bytes = x509.PRIME256V1) -> bytes:
    """SubjectPublicKeyInfo of a point as it is encoded. curve: the OID's contents."""
    kind = algorithm(x509.EC_PUBLIC_KEY, encode(der.OBJECT_IDENTIFIER, curve))
    return sequence(kind, bit_string(point))


@dataclass(frozen=True)
class Parts:
    version: bytes
    serial: bytes
    inner_algorithm: bytes
    issuer: bytes
    not_before: bytes
    not_after: bytes
    subject: bytes
    public_key: bytes
    extensions: tuple[bytes, ...]
    outer_algorithm: bytes
    sign: Callable[[bytes], bytes]

    def but(self, **changes: object) -> "Parts":
        return replace(self, **changes)  # type: ignore[arg-type]

    def with_extension(self, at: int, *instead: bytes) -> "Parts":
        """Another in the place of one of the board's extensions; none, and it is missing."""
        return self.but(extensions=(*self.extensions[:at], *instead, *self.extensions[at + 1 :]))

    def to_be_signed(self) -> bytes:
        return sequence(
            self.version,
            self.serial,
            self.inner_algorithm,
            self.issuer,
            sequence(self.not_before, self.not_after),
            self.subject,
            self.public_key,
            encode(der.context(3), sequence(*self.extensions)) if self.extensions else b"",
        )

    def der(self) -> bytes:
        to_be_signed = self.to_be_signed()
        return sequence(to_be_signed, self.outer_algorithm, bit_string(self.sign(to_be_signed)))


def parts_of(number: int, *, root: bool = False) -> Parts:
    """The certificate of `board(number)`, or its root, taken apart."""
    whole = board(number).root if root else board(number).certificate
    body, outer_algorithm, _ = elements(contents_of(whole))
    version, serial, inner_algorithm, issuer, validity, subject, public_key, extensions = elements(
        contents_of(body)
    )
    not_before, not_after = elements(contents_of(validity))
    return Parts(
        version=version,
        serial=serial,
        inner_algorithm=inner_algorithm,
        issuer=issuer,
        not_before=not_before,
        not_after=not_after,
        subject=subject,
        public_key=public_key,
        extensions=tuple(elements(contents_of(contents_of(extensions)))),
        outer_algorithm=outer_algorithm,
        sign=signature_by(number),
    )


def resigned(certificate: bytes, number: int) -> bytes:
    """The certificate with a good signature by the root of `board(number)` over its body."""
    body, outer_algorithm, _ = elements(contents_of(certificate))
    return sequence(body, outer_algorithm, bit_string(signature_by(number)(body)))


# A certificate as a tree, to change one element anywhere in it


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """(header, contents, what follows) of the element that `data` begins with; ValueError."""
    if len(data) < 2:
        raise ValueError("no element")
    size = 2
    length = data[1]
    if length & 0x80:
        size += length & 0x7F
        length = int.from_bytes(data[2:size], "big")
    if len(data) < size + length:
        raise ValueError("cut short")
    return data[:size], data[size : size + length], data[size + length :]


def contents_of(element: bytes) -> bytes:
    return _split(element)[1]


def elements(contents: bytes) -> list[bytes]:
    """The elements that the contents of another consist of; ValueError if they do not."""
    found = []
    while contents:
        header, inner, contents = _split(contents)
        found.append(header + inner)
    return found


def _children(element: bytes) -> tuple[bytes, list[bytes]]:
    """What stands before the elements inside one (a BIT STRING's 00), and these; else none."""
    tag, contents = element[0], contents_of(element)
    if tag & 0x20:
        return b"", elements(contents)
    before = b"\x00" if tag == der.BIT_STRING else b""
    inside = contents[len(before) :]
    # An extension's value, or a signature: exactly one element
    if tag in (der.OCTET_STRING, der.BIT_STRING) and contents.startswith(before):
        with_tag = inside[:1] in (b"\x03", b"\x04", b"\x30")
        if with_tag and len(inside) > 1 and len(inside) == 2 + inside[1]:
            return before, [inside]
        if inside[:2] == b"\x30\x81" and len(inside) == 3 + inside[2]:
            return before, [inside]
    return b"", []


Path = tuple[int, ...]


def paths(certificate: bytes) -> Iterator[Path]:
    """The place of every element of a certificate, those inside OCTET STRINGs included."""
    yield ()
    for at, child in enumerate(_children(certificate)[1]):
        for path in paths(child):
            yield (at, *path)


def element_at(certificate: bytes, path: Path) -> bytes:
    for at in path:
        certificate = _children(certificate)[1][at]
    return certificate


def changed(certificate: bytes, path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """The certificate with one element changed and the lengths around it put right.

    The signature is left as it is.
    """
    if not path:
        return change(certificate)
    before, children = _children(certificate)
    children[path[0]] = changed(children[path[0]], path[1:], change)
    return encode(certificate[0], before, *children)


def with_more_inside(more: bytes) -> Callable[[bytes], bytes]:
    """A change: these bytes at the end of the element's contents, its length put right."""
    return lambda element: encode(element[0], contents_of(element), more)


def with_long_length(element: bytes) -> bytes:
    """BER: the length with one byte more than it needs (X.690, 8.1.3.5)."""
    length = len(contents_of(element))
    size = 1 + (length > 0x7F) + (length > 0xFF)
    header = bytes([element[0], 0x80 | size]) + length.to_bytes(size, "big")
    return header + contents_of(element)


def with_indefinite_length(element: bytes) -> bytes:
    """BER: the end marked by two zeros (X.690, 8.1.3.6)."""
    return bytes([element[0], 0x80]) + contents_of(element) + b"\x00\x00"


def encoded(data: bytes, label: str = "CERTIFICATE") -> bytes:
    """PEM, written here: what is tested must not write what it reads."""
    return (
        f"-----BEGIN {label}-----\n".encode()
        + base64.encodebytes(data)
        + f"-----END {label}-----\n".encode()
    )
