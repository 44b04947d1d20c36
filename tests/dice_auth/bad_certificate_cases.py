"""Bad certificates one by one, each with one thing wrong and the name of the check that refuses it;
what only looks bad; and bodies of requests that carry a certificate in odd ways.

`CASES` are signed by the real root key of `board(1)` unless the case says otherwise.
"""

import hashlib
import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509 as other_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dice import der, keys, x509
from dice.der_writer import encode, encode_ecdsa_signature
from ota_crypto import p256
from tests.dice_auth import bad_certificates as bad
from tests.dice_auth.bad_certificates import encoded, integer, parts_of, sequence
from tests.dice_auth.boards import board

ENROLLED, OTHER, STRANGER = board(1), board(2), board(9)
GOOD = parts_of(1)
ROOT = parts_of(1, root=True)
# The time at which they are verified
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)

UNREADABLE = ("no-certificate",)
NOT_ENROLLED = ("not-enrolled",)
# Refused, whichever check does it: damage anywhere in a certificate meets all of them
ANY: tuple[str, ...] = ()

# What makes the certificate, and the names of the checks that refuse it
Case = tuple[Callable[[], bytes], tuple[str, ...]]

# Keys


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def info_of(private: Any) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def on(curve: ec.EllipticCurve) -> bytes:
    return info_of(ec.derive_private_key(7, curve))


POINT = GOOD.public_key[-65:]
CURVE_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
OFF_THE_CURVE = POINT[:-1] + bytes([POINT[-1] ^ 1])


def key(info: bytes) -> Callable[[], bytes]:
    return lambda: GOOD.but(public_key=info).der()


def lazily(make: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: GOOD.but(public_key=make()).der()


def signed_by_another_algorithm(private: Any, algorithm: Any) -> bytes:
    """By `cryptography`: names and key ids of the board's, and another key under them."""
    names = [other_x509.Name([other_x509.NameAttribute(other_x509.NameOID.SERIAL_NUMBER, text)])
             for text in (STRANGER.key_id.hex(), ENROLLED.key_id.hex())]  # fmt: skip
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)  # fmt: skip
    measured = bad.contents_of(bad.elements(bad.contents_of(GOOD.extensions[bad.DICE]))[2])
    made = (
        other_x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(private.public_key())
        .serial_number(other_x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(other_x509.AuthorityKeyIdentifier(ENROLLED.key_id, None, None), False)
        .add_extension(other_x509.SubjectKeyIdentifier(bytes(range(20))), False)
        .add_extension(other_x509.KeyUsage(key_cert_sign=True, **usage), True)
        .add_extension(other_x509.BasicConstraints(True, None), True)
        .add_extension(
            other_x509.UnrecognizedExtension(
                other_x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.1.24"), measured
            ),
            True,
        )
        .sign(private, algorithm)
    )
    return made.public_bytes(serialization.Encoding.DER)


KEYS: dict[str, Case] = {
    "an RSA key": (lazily(lambda: info_of(rsa_key())), UNREADABLE),
    "an RSA key, signed by it": (
        lambda: signed_by_another_algorithm(rsa_key(), hashes.SHA512()),
        UNREADABLE,
    ),
    "a P-384 key": (key(on(ec.SECP384R1())), UNREADABLE),
    "a P-384 key, signed by it": (
        lambda: signed_by_another_algorithm(
            ec.derive_private_key(7, ec.SECP384R1()), hashes.SHA512()
        ),
        UNREADABLE,
    ),
    "a P-521 key": (key(on(ec.SECP521R1())), UNREADABLE),
    "a secp256k1 key": (key(on(ec.SECP256K1())), UNREADABLE),
    "a brainpoolP256r1 key": (key(on(ec.BrainpoolP256R1())), UNREADABLE),
    "an Ed25519 key": (lazily(lambda: info_of(ed25519.Ed25519PrivateKey.generate())), UNREADABLE),
    "an Ed25519 key, signed by it": (
        lambda: signed_by_another_algorithm(ed25519.Ed25519PrivateKey.generate(), None),
        UNREADABLE,
    ),
    "a P-256 key, signed by itself": (
        lambda: signed_by_another_algorithm(
            ec.derive_private_key(7, ec.SECP256R1()), hashes.SHA512()
        ),
        ("signature",),
    ),
    "a key of id-ecDH": (
        key(GOOD.public_key.replace(x509.EC_PUBLIC_KEY, bytes.fromhex("2b81040112aaaa"))),
        UNREADABLE,
    ),
    "no curve named": (
        key(sequence(bad.algorithm(x509.EC_PUBLIC_KEY), bad.bit_string(POINT))),
        UNREADABLE,
    ),
    "the curve implicit": (
        key(sequence(bad.algorithm(x509.EC_PUBLIC_KEY, bad.NULL), bad.bit_string(POINT))),
        UNREADABLE,
    ),
    "the curve by its parameters": (
        key(sequence(bad.algorithm(x509.EC_PUBLIC_KEY, sequence()), bad.bit_string(POINT))),
        UNREADABLE,
    ),
    "a point of secp256k1 as one of P-256": (
        key(bad.public_key_info(on(ec.SECP256K1())[-65:])),
        UNREADABLE,
    ),
    "a point that is not on the curve": (key(bad.public_key_info(OFF_THE_CURVE)), UNREADABLE),
    "the point 0, 0": (key(bad.public_key_info(b"\x04" + bytes(64))), UNREADABLE),
    "a coordinate of p and more": (
        # x + p for the point of x = 5, which is on the curve
        key(
            bad.public_key_info(
                b"\x04"
                + (CURVE_PRIME + 5).to_bytes(32, "big")
                + p256.decompress(b"\x02" + (5).to_bytes(32, "big"))[33:]
            )
        ),
        UNREADABLE,
    ),
    "infinity": (key(bad.public_key_info(b"\x00")), UNREADABLE),
    "infinity in 65 bytes": (key(bad.public_key_info(bytes(65))), UNREADABLE),
    "a compressed point": (key(bad.public_key_info(p256.compress(POINT))), UNREADABLE),
    "a hybrid point": (
        key(bad.public_key_info(bytes([6 + (POINT[-1] & 1)]) + POINT[1:])),
        UNREADABLE,
    ),
    "a point cut short": (key(bad.public_key_info(POINT[:-1])), UNREADABLE),
    "a point and a byte": (key(bad.public_key_info(POINT + b"\x00")), UNREADABLE),
    "a point with unused bits": (
        key(sequence(bad.elements(bad.contents_of(GOOD.public_key))[0], bad.bit_string(POINT, 1))),
        UNREADABLE,
    ),
    "no point": (key(bad.public_key_info(b"")), UNREADABLE),
}

# Dates


def dated(not_before: bytes = GOOD.not_before, not_after: bytes = GOOD.not_after) -> bytes:
    return GOOD.but(not_before=not_before, not_after=not_after).der()


def from_time(time: bytes, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return lambda: dated(not_before=time), failed


def utc(text: str, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return from_time(bad.utc_time(text), failed)


def generalized(text: str, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return lambda: dated(not_after=bad.generalized_time(text)), failed


DATES: dict[str, Case] = {
    "expired": (lambda: dated(not_after=bad.utc_time("260531235959Z")), ("expired",)),
    "expired for decades, 1950": (
        lambda: dated(not_after=bad.utc_time("500101000000Z")),
        ("expired",),
    ),
    "not yet valid": utc("400601000000Z", ("not-yet-valid",)),
    "not yet valid, 2049": utc("491231235959Z", ("not-yet-valid",)),
    "not yet valid, GeneralizedTime": from_time(
        bad.generalized_time("20500101000000Z"), ("not-yet-valid",)
    ),
    "ends before it begins": (
        lambda: dated(bad.utc_time("270101000000Z"), bad.utc_time("250101000000Z")),
        ("not-yet-valid", "expired"),
    ),
    "UTCTime without Z": utc("180322235959"),
    "UTCTime with an offset": utc("180322235959+0000"),
    "UTCTime without seconds": utc("1803222359Z"),
    "UTCTime with a fraction": utc("180322235959.5Z"),
    "UTCTime with four digits of the year": utc("20180322235959Z"),
    "UTCTime in small letters": utc("180322235959z"),
    "UTCTime with blanks": utc("18 322235959Z"),
    "UTCTime with a sign": utc("+80322235959Z"),
    "UTCTime with digits of another script": utc("1803222359\u0661Z"),
    "UTCTime with a NUL": utc("180322235959Z\0"),
    "UTCTime of month 0": utc("180022235959Z"),
    "UTCTime of month 13": utc("181322235959Z"),
    "UTCTime of day 0": utc("180300235959Z"),
    "UTCTime of day 32": utc("180332235959Z"),
    "UTCTime of 30 February": utc("180230235959Z"),
    "UTCTime of 29 February of no leap year": utc("180229235959Z"),
    "UTCTime of hour 24": utc("180322240000Z"),
    "UTCTime of minute 60": utc("180322236000Z"),
    "UTCTime of second 60": utc("180322235960Z"),
    "UTCTime empty": utc(""),
    "GeneralizedTime without Z": generalized("99991231235959"),
    "GeneralizedTime with an offset": generalized("99991231235959+0000"),
    "GeneralizedTime without seconds": generalized("999912312359Z"),
    "GeneralizedTime with a fraction": generalized("99991231235959.0Z"),
    "GeneralizedTime with two digits of the year": generalized("991231235959Z"),
    "GeneralizedTime with five digits of the year": generalized("099991231235959Z"),
    "GeneralizedTime of month 13": generalized("99991331235959Z"),
    "GeneralizedTime of 31 November": generalized("99991131235959Z"),
    "GeneralizedTime of hour 24": generalized("99991231240000Z"),
    "GeneralizedTime empty": generalized(""),
    "a date as PrintableString": from_time(encode(der.PRINTABLE_STRING, b"180322235959Z")),
    "a date as INTEGER": from_time(integer(b"\x01")),
    "one date": (lambda: dated(not_after=b""), UNREADABLE),
    "no date": (lambda: dated(b"", b""), UNREADABLE),
    "three dates": (lambda: dated(not_after=GOOD.not_after * 2), UNREADABLE),
}


def with_serial(contents: bytes, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return lambda: GOOD.but(serial=integer(contents)).der(), failed


SERIALS: dict[str, Case] = {
    "serial zero": with_serial(b"\x00", ("serial-number",)),
    "serial zero in 20 bytes": with_serial(bytes(20), ("serial-number",)),
    "serial negative": with_serial(b"\xff"),
    "serial negative in 20 bytes": with_serial(b"\x80" + bytes(19)),
    "serial empty": with_serial(b""),
    "serial of 21 bytes": with_serial(b"\x01" + bytes(20)),
    "serial of 21 bytes with a needed zero": with_serial(b"\x00\x80" + bytes(19)),
    "serial of 1,000 bytes": with_serial(b"\x01" * 1000),
    "serial not minimal, 2 bytes": with_serial(b"\x00\x01"),
    "serial not minimal, 19 bytes": with_serial(b"\x00" + b"\x01" * 18),
    "serial not minimal, 21 bytes": with_serial(b"\x00" + b"\x01" * 20),
    "serial as ENUMERATED": (
        lambda: GOOD.but(serial=encode(der.ENUMERATED, b"\x01")).der(),
        UNREADABLE,
    ),
    "serial missing": (lambda: GOOD.but(serial=b"").der(), UNREADABLE),
    "serial twice": (lambda: GOOD.but(serial=GOOD.serial * 2).der(), UNREADABLE),
}

# Extensions


def instead(at: int, *others: bytes, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return lambda: GOOD.with_extension(at, *others).der(), failed


def added(*others: bytes, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return lambda: GOOD.but(extensions=GOOD.extensions + others).der(), failed


def usage(contents: bytes, failed: tuple[str, ...] = ("key-usage",)) -> Case:
    return instead(bad.KEY_USAGE, bad.key_usage(contents), failed=failed)


def constraints(*parts: bytes, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return instead(bad.BASIC_CONSTRAINTS, bad.basic_constraints(*parts), failed=failed)


def measured(*fields: bytes) -> Case:
    return instead(bad.DICE, bad.dice_extension(*fields))


def critical(at: int) -> Case:
    oid, value = bad.elements(bad.contents_of(GOOD.extensions[at]))
    return instead(at, sequence(oid, bad.TRUE, value))


MISSING = [NOT_ENROLLED, ("subject-key-id",), ("key-usage",), ("ca",), ("dice-extension",)]
DICE_FIELDS = bad.elements(
    bad.contents_of(bad.contents_of(bad.elements(bad.contents_of(GOOD.extensions[bad.DICE]))[2]))
)
DICE_VALUE = sequence(*DICE_FIELDS)
FALSE = encode(der.BOOLEAN, b"\x00")
UNKNOWN = bytes.fromhex("2b0601040183fd59")
NAME_CONSTRAINTS = bytes.fromhex("551d1e")
EXTENDED_KEY_USAGE = bytes.fromhex("551d25")

EXTENSIONS: dict[str, Case] = {
    **{
        f"{name} missing": instead(at, failed=failed)
        for at, (name, failed) in enumerate(zip(bad.EXTENSION_NAMES, MISSING, strict=True))
    },
    **{
        f"{name} twice": instead(at, GOOD.extensions[at], GOOD.extensions[at])
        for at, name in enumerate(bad.EXTENSION_NAMES)
    },
    **{
        f"{name} twice, not side by side": added(GOOD.extensions[at])
        for at, name in enumerate(bad.EXTENSION_NAMES)
    },
    "key usage twice, first with more": instead(
        bad.KEY_USAGE, bad.key_usage(b"\x02\x84"), GOOD.extensions[bad.KEY_USAGE]
    ),
    "DICE extension twice, one not critical": added(
        bad.extension(x509.DICE_EXTENSION, DICE_VALUE, b"")
    ),
    "no extensions at all": (lambda: GOOD.but(extensions=()).der(), UNREADABLE),
    "DICE extension not critical": instead(
        bad.DICE,
        bad.extension(x509.DICE_EXTENSION, DICE_VALUE, b""),
        failed=("dice-extension",),
    ),
    "DICE extension with critical FALSE": instead(
        bad.DICE, bad.extension(x509.DICE_EXTENSION, DICE_VALUE, FALSE)
    ),
    "DICE extension with critical 01": instead(
        bad.DICE, bad.extension(x509.DICE_EXTENSION, DICE_VALUE, encode(der.BOOLEAN, b"\x01"))
    ),
    "DICE extension with critical in two bytes": instead(
        bad.DICE, bad.extension(x509.DICE_EXTENSION, DICE_VALUE, encode(der.BOOLEAN, b"\xff\xff"))
    ),
    "DICE extension with critical last": instead(
        bad.DICE,
        sequence(
            encode(der.OBJECT_IDENTIFIER, x509.DICE_EXTENSION),
            encode(der.OCTET_STRING, DICE_VALUE),
            bad.TRUE,
        ),
    ),
    "DICE extension under another number": instead(
        bad.DICE,
        bad.extension(x509.DICE_EXTENSION[:-1] + b"\x19", DICE_VALUE, b""),
        failed=("dice-extension",),
    ),
    "DICE extension, its value empty": instead(
        bad.DICE, bad.extension(x509.DICE_EXTENSION, b"")
    ),
    "DICE extension, its value no SEQUENCE": instead(
        bad.DICE, bad.extension(x509.DICE_EXTENSION, encode(der.SET, *DICE_FIELDS))
    ),
    "DICE extension, fields in another order": measured(*reversed(DICE_FIELDS)),
    "DICE extension, a field twice": measured(DICE_FIELDS[0], *DICE_FIELDS),
    "DICE extension, an unknown field": measured(*DICE_FIELDS, encode(der.context(8), bad.NULL)),
    "DICE extension, code hash of 63 bytes": measured(
        encode(der.context(0), encode(der.OCTET_STRING, bytes(63))), *DICE_FIELDS[1:]
    ),
    "DICE extension, code hash empty": measured(
        encode(der.context(0), encode(der.OCTET_STRING)), *DICE_FIELDS[1:]
    ),
    "DICE extension, mode 4": measured(
        *DICE_FIELDS[:3], encode(der.context(6), encode(der.ENUMERATED, b"\x04")), DICE_FIELDS[4]
    ),
    "DICE extension, mode an INTEGER": measured(
        *DICE_FIELDS[:3], encode(der.context(6), integer(b"\x01")), DICE_FIELDS[4]
    ),
    "unknown critical extension": added(bad.extension(UNKNOWN, bad.NULL)),
    "name constraints": added(bad.extension(NAME_CONSTRAINTS, sequence())),
    "critical extended key usage": added(bad.extension(EXTENDED_KEY_USAGE, sequence())),
    "authority key id critical": critical(bad.AUTHORITY_KEY_ID),
    "subject key id critical": critical(bad.SUBJECT_KEY_ID),
    "key usage with digitalSignature": usage(b"\x02\x84"),
    "key usage with cRLSign": usage(b"\x01\x06"),
    "key usage of digitalSignature alone": usage(b"\x07\x80"),
    "key usage of nothing": usage(b"\x00"),
    "key usage empty": usage(b""),
    "key usage with decipherOnly": usage(b"\x07\x04\x80"),
    "key usage with a byte of zeros": usage(b"\x00\x04\x00"),
    "key usage with trailing zero bits": usage(b"\x00\x04"),
    "key usage with unused bits set": usage(b"\x02\x07"),
    "key usage with too many unused bits": usage(b"\x08\x04"),
    "key usage as OCTET STRING": instead(
        bad.KEY_USAGE,
        bad.extension(x509.KEY_USAGE, encode(der.OCTET_STRING, bad.KEY_CERT_SIGN)),
    ),
    "CA:FALSE by default": constraints(failed=("ca",)),
    "CA:FALSE written out": constraints(FALSE),
    "CA as 01": constraints(encode(der.BOOLEAN, b"\x01")),
    "CA empty": constraints(encode(der.BOOLEAN)),
    "CA twice": constraints(bad.TRUE, bad.TRUE),
    "CA as INTEGER": constraints(integer(b"\x01"), failed=("ca",)),
    "CA after pathLen": constraints(integer(b"\x00"), bad.TRUE),
    "pathLen without CA": constraints(integer(b"\x00"), failed=("ca",)),
    "pathLen negative": constraints(bad.TRUE, integer(b"\xff")),
    "pathLen empty": constraints(bad.TRUE, integer(b"")),
    "pathLen not minimal": constraints(bad.TRUE, integer(b"\x00\x00")),
    "pathLen twice": constraints(bad.TRUE, integer(b"\x00"), integer(b"\x00")),
    "pathLen NULL": constraints(bad.TRUE, bad.NULL),
    "basic constraints, its value empty": instead(
        bad.BASIC_CONSTRAINTS, bad.extension(x509.BASIC_CONSTRAINTS, b"")
    ),
    "an extension without a value": added(
        sequence(encode(der.OBJECT_IDENTIFIER, UNKNOWN))
    ),
    "an extension without an OID": added(sequence(encode(der.OCTET_STRING, b""))),
    "an empty extension": added(sequence()),
    "unique ids": (
        lambda: GOOD.but(public_key=GOOD.public_key + encode(0x81, b"\x00\x01")).der(),
        UNREADABLE,
    ),
}  # fmt: skip

# Whose it is


def identified(key_id: bytes, failed: tuple[str, ...] = NOT_ENROLLED) -> Case:
    return instead(bad.AUTHORITY_KEY_ID, bad.authority_key_id(key_id), failed=failed)


def key_identifier_with(*more: bytes) -> Case:
    key_id = encode(der.context(0, constructed=False), ENROLLED.key_id)
    return instead(
        bad.AUTHORITY_KEY_ID,
        bad.extension(x509.AUTHORITY_KEY_IDENTIFIER, sequence(key_id, *more), b""),
    )


def issued_by(issuer: bytes, failed: tuple[str, ...] = ("issuer",)) -> Case:
    return lambda: GOOD.but(issuer=issuer).der(), failed


OTHERS = parts_of(2)
ID = ENROLLED.key_id
ROOT_OWN_ID = GOOD.extensions[bad.AUTHORITY_KEY_ID]

WHOSE: dict[str, Case] = {
    "the key id of another board's root": identified(OTHER.key_id, ("issuer", "signature")),
    "key id and name of another board's root": (
        lambda: (
            GOOD.with_extension(bad.AUTHORITY_KEY_ID, OTHERS.extensions[bad.AUTHORITY_KEY_ID])
            .but(issuer=OTHERS.issuer)
            .der()
        ),
        ("signature",),
    ),
    "the key id of a board that is not enrolled": identified(STRANGER.key_id),
    "the board's own key id": identified(keys.key_id(POINT)),
    "a key id of nobody": identified(bytes(20)),
    "a key id cut short": identified(ID[:19]),
    "a key id and a byte": identified(ID + b"\x00"),
    "an empty key id": identified(b""),
    "a key id of 1,000 bytes": identified(ID * 50),
    "key id constructed": instead(
        bad.AUTHORITY_KEY_ID,
        bad.extension(
            x509.AUTHORITY_KEY_IDENTIFIER,
            sequence(encode(der.context(0), encode(der.OCTET_STRING, ID))),
            b"",
        ),
    ),
    "key id and another issuer": key_identifier_with(
        encode(der.context(1), encode(der.context(4), OTHERS.issuer)),
        encode(der.context(2, constructed=False), b"\x01"),
    ),
    "key id twice": key_identifier_with(encode(der.context(0, constructed=False), OTHER.key_id)),
    "no key id in the authority key id": instead(
        bad.AUTHORITY_KEY_ID, bad.extension(x509.AUTHORITY_KEY_IDENTIFIER, sequence(), b"")
    ),
    "the root as its own evidence": (lambda: ENROLLED.root, ("is-root",)),
    "another certificate of the root's key": (
        lambda: GOOD.but(public_key=ROOT.public_key, subject=ROOT.subject).der(),
        ("is-root",),
    ),
    "the root's key under the board's name": (
        lambda: GOOD.but(public_key=ROOT.public_key).der(),
        ("is-root",),
    ),
    "the root signed by another board": (
        lambda: ROOT.but(
            issuer=OTHERS.issuer,
            extensions=(OTHERS.extensions[bad.AUTHORITY_KEY_ID], *ROOT.extensions[1:]),
            sign=bad.signature_by(2),
            public_key=parts_of(2, root=True).public_key,
        ).der(),
        ("is-root",),
    ),
    "another issuer": issued_by(bad.name(STRANGER.key_id.hex())),
    "its own name as issuer": issued_by(GOOD.subject),
    "no name as issuer": issued_by(sequence(), UNREADABLE),
    "the issuer in capitals": issued_by(bad.name(ID.hex().upper())),
    "the issuer as UTF8String": issued_by(bad.name(ID.hex(), tag=der.UTF8_STRING)),
    "the issuer with a blank": issued_by(bad.name(ID.hex() + " ")),
    "the issuer cut at a NUL": issued_by(bad.name(ID.hex() + "\0.example")),
    "the issuer twice in a name": issued_by(sequence(bad.contents_of(GOOD.issuer) * 2)),
    "the issuer missing": issued_by(b"", UNREADABLE),
    "signed by another board": (
        lambda: GOOD.but(sign=bad.signature_by(2)).der(),
        ("signature",),
    ),
    "the signature of another certificate of the root": (
        lambda: GOOD.but(sign=lambda _: ROOT.sign(ROOT.to_be_signed())).der(),
        ("signature",),
    ),
    "another board's certificate under this board's issuer": (
        lambda: OTHERS.but(issuer=GOOD.issuer).with_extension(0, ROOT_OWN_ID).der(),
        ("signature",),
    ),
    "a board that is not enrolled": (lambda: STRANGER.certificate, NOT_ENROLLED),
}

# Signatures

R, S = (
    int.from_bytes(bad.contents_of(number), "big")
    for number in bad.elements(bad.contents_of(GOOD.sign(GOOD.to_be_signed())))
)
N = p256.ORDER


def wide(value: int) -> bytes:
    """A non-negative INTEGER of any size."""
    return integer(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def signature(value: bytes, failed: tuple[str, ...] = UNREADABLE) -> Case:
    return lambda: GOOD.but(sign=lambda _: value).der(), failed


def pair(r: int, s: int) -> Case:
    return signature(sequence(wide(r), wide(s)), ("signature",))


def sha_256_signature(to_be_signed: bytes) -> bytes:
    digest = hashlib.sha256(to_be_signed).digest()
    return encode_ecdsa_signature(*p256.sign(bad.root_key(1), digest))


ECDSA_WITH_SHA256 = x509.ECDSA_WITH_SHA512[:-1] + b"\x02"
SHA256 = bad.algorithm(ECDSA_WITH_SHA256)
RSA_WITH_SHA512 = bad.algorithm(bytes.fromhex("2a864886f70d01010d"), bad.NULL)

SIGNATURES: dict[str, Case] = {
    "r zero": pair(0, S),
    "s zero": pair(R, 0),
    "r and s zero": pair(0, 0),
    "r and s one": pair(1, 1),
    "r the order": pair(N, S),
    "s the order": pair(R, N),
    "r and s the order": pair(N, N),
    "r and the order added": pair(R + N, S),
    "s and the order added": pair(R, S + N),
    "r of 1,000 bits": pair(R << 744, S),
    "s of 1,000 bits": pair(R, S << 744),
    "r and s exchanged": pair(S, R),
    "r minus the order": pair(N - R, S),
    "r negative": signature(sequence(integer(b"\xff" + bytes(31)), wide(S))),
    "r not minimal": signature(sequence(integer(b"\x00\x00" + R.to_bytes(32, "big")), wide(S))),
    "s not minimal": signature(sequence(wide(R), integer(b"\x00\x00" + S.to_bytes(32, "big")))),
    "r empty": signature(sequence(integer(b""), wide(S))),
    "r a long length": signature(sequence(bad.with_long_length(wide(R)), wide(S))),
    "signature with a long length": signature(bad.with_long_length(sequence(wide(R), wide(S)))),
    "signature with an indefinite length": signature(
        bad.with_indefinite_length(sequence(wide(R), wide(S)))
    ),
    "signature and a third number": signature(sequence(wide(R), wide(S), wide(1))),
    "signature of one number": signature(sequence(wide(R))),
    "signature of no number": signature(sequence()),
    "signature and a byte": signature(sequence(wide(R), wide(S)) + b"\x00"),
    "signature as 64 plain bytes": signature(R.to_bytes(32, "big") + S.to_bytes(32, "big")),
    "signature empty": signature(b""),
    "signature of zeros": signature(bytes(70)),
    "signature with unused bits": (
        lambda: sequence(
            GOOD.to_be_signed(),
            GOOD.outer_algorithm,
            bad.bit_string(GOOD.sign(GOOD.to_be_signed()), 1),
        ),
        UNREADABLE,
    ),
    "signature missing": (
        lambda: sequence(GOOD.to_be_signed(), GOOD.outer_algorithm),
        UNREADABLE,
    ),
    "SHA-256 named and used": (
        lambda: GOOD.but(
            inner_algorithm=SHA256, outer_algorithm=SHA256, sign=sha_256_signature
        ).der(),
        UNREADABLE,
    ),
    "SHA-256 named, SHA-512 used": (
        lambda: GOOD.but(inner_algorithm=SHA256, outer_algorithm=SHA256).der(),
        UNREADABLE,
    ),
    "SHA-512 named, SHA-256 used": (
        lambda: GOOD.but(sign=sha_256_signature).der(),
        ("signature",),
    ),
    "SHA-256 outside": (
        lambda: GOOD.but(outer_algorithm=SHA256, sign=sha_256_signature).der(),
        UNREADABLE,
    ),
    "SHA-256 inside": (lambda: GOOD.but(inner_algorithm=SHA256).der(), UNREADABLE),
    "RSA outside": (lambda: GOOD.but(outer_algorithm=RSA_WITH_SHA512).der(), UNREADABLE),
    "RSA inside": (lambda: GOOD.but(inner_algorithm=RSA_WITH_SHA512).der(), UNREADABLE),
    "a parameter of the inner algorithm": (
        lambda: GOOD.but(
            inner_algorithm=bad.algorithm(x509.ECDSA_WITH_SHA512, bad.NULL)
        ).der(),
        UNREADABLE,
    ),
    "a parameter of the outer algorithm": (
        lambda: GOOD.but(
            outer_algorithm=bad.algorithm(x509.ECDSA_WITH_SHA512, bad.NULL)
        ).der(),
        UNREADABLE,
    ),
    "outer algorithm missing": (lambda: GOOD.but(outer_algorithm=b"").der(), UNREADABLE),
    "inner algorithm missing": (lambda: GOOD.but(inner_algorithm=b"").der(), UNREADABLE),
}  # fmt: skip


def version(element: bytes) -> Case:
    return lambda: GOOD.but(version=element).der(), UNREADABLE


def numbered(contents: bytes) -> bytes:
    return encode(der.context(0), integer(contents))


VERSIONS: dict[str, Case] = {
    "version 1 by default, with extensions": version(b""),
    "version 1 by default, without extensions": (
        lambda: GOOD.but(version=b"", extensions=()).der(),
        UNREADABLE,
    ),
    "version 1 written out": version(numbered(b"\x00")),
    "version 2": version(numbered(b"\x01")),
    "version 4": version(numbered(b"\x03")),
    "version negative": version(numbered(b"\xff")),
    "version empty": version(numbered(b"")),
    "version not minimal": version(numbered(b"\x00\x02")),
    "version 2**16 + 2": version(numbered(b"\x01\x00\x02")),
    "version untagged": version(integer(b"\x02")),
    "version twice": version(numbered(b"\x02") * 2),
    "version and a number": version(encode(der.context(0), integer(b"\x02") * 2)),
}

# Encodings: every element of a certificate, one after the other

ALL_PATHS = list(bad.paths(ENROLLED.certificate))
CONSTRUCTED = [
    path for path in ALL_PATHS if bad.element_at(ENROLLED.certificate, path)[0] & 0x20
]  # fmt: skip


def everywhere(
    what: str, change: Callable[[bytes], bytes], where: list[tuple[int, ...]]
) -> dict[str, Case]:
    """The change at each of these places, signed again where it is under the signature."""

    def make(path: tuple[int, ...]) -> Callable[[], bytes]:
        def made() -> bytes:
            data = bad.changed(ENROLLED.certificate, path, change)
            return bad.resigned(data, 1) if path[:1] == (0,) and path != (0,) else data

        return made

    return {f"{what} at {'.'.join(map(str, path)) or 'all'}": (make(path), ANY) for path in where}


def with_byte_changed(data: bytes, at: int, more: int) -> bytes:
    return data[:at] + bytes([data[at] + more]) + data[at + 1 :]


# The Name of the subject, whose attributes nobody here reads, and what stands in it
SUBJECT = (0, 5)
# OPTIONAL or harmless, see ACCEPTED: the measurements one by one, the flags `critical` of key
# usage and of basic constraints, a name of two parts
OPTIONAL = {
    *((0, 7, 0, 4, 2, 0, field) for field in range(5)),
    (0, 7, 0, 2, 1),
    (0, 7, 0, 3, 1),
}
PRESENT_ONCE = {(*SUBJECT, 0), (*SUBJECT, 0, 0)}

ENCODINGS: dict[str, Case] = {
    **everywhere("a NULL more", bad.with_more_inside(bad.NULL), CONSTRUCTED),
    **everywhere("a zero more", bad.with_more_inside(b"\x00"), CONSTRUCTED),
    **everywhere("an end of contents more", bad.with_more_inside(b"\x00\x00"), CONSTRUCTED),
    **everywhere("a long length", bad.with_long_length, ALL_PATHS),
    **everywhere("an indefinite length", bad.with_indefinite_length, CONSTRUCTED),
    **everywhere(
        "empty",
        lambda element: element[:1] + b"\x00",
        [path for path in CONSTRUCTED if path != (0, 7, 0, 4, 2, 0)],
    ),
    **everywhere(
        "missing", lambda element: b"", [path for path in ALL_PATHS[1:] if path not in OPTIONAL]
    ),
    **everywhere(
        "twice",
        lambda element: element * 2,
        [path for path in ALL_PATHS[1:] if path not in PRESENT_ONCE],
    ),
    "a byte after it": (lambda: ENROLLED.certificate + b"\x00", UNREADABLE),
    "a line end after it": (lambda: ENROLLED.certificate + b"\n", UNREADABLE),
    "another certificate after it": (lambda: ENROLLED.certificate + OTHER.certificate, UNREADABLE),
    "a byte before it": (lambda: b"\x00" + ENROLLED.certificate, UNREADABLE),
    **{
        f"the length of {what} {more:+}": (
            lambda at=at, more=more: with_byte_changed(ENROLLED.certificate, at, more),
            UNREADABLE,
        )
        for what, at in {
            "the whole": 3,
            "the body": 7,
            "the signature's bits": ENROLLED.certificate.rindex(b"\x00\x30") - 1,
            "the signature": ENROLLED.certificate.rindex(b"\x00\x30") + 2,
        }.items()
        for more in (-1, 1)
    },
    "its last byte missing": (lambda: ENROLLED.certificate[:-1], UNREADABLE),
    "the body alone": (lambda: GOOD.to_be_signed(), UNREADABLE),
    "more than 4096 bytes": (
        lambda: GOOD.but(
            extensions=(*GOOD.extensions, bad.extension(UNKNOWN, bytes(4096), b""))
        ).der(),
        UNREADABLE,
    ),
}

CASES = {
    **KEYS, **DATES, **SERIALS, **EXTENSIONS, **WHOSE, **SIGNATURES, **VERSIONS, **ENCODINGS,
}  # fmt: skip

# What looks odd, and is a certificate: each is allowed by the specification named beside it

ACCEPTED: dict[str, Callable[[], bytes]] = {
    # The C boards' own: 20 bytes of an id that begins with zeros (protocol.md, D)
    "the C boards' serial": lambda: GOOD.but(serial=integer(b"\x00\x7f" + bytes(18))).der(),
    "the C boards' serial of two zeros": lambda: GOOD.but(
        serial=integer(bytes(2) + b"\x01" * 18)
    ).der(),
    "a serial of one byte": lambda: GOOD.but(serial=integer(b"\x01")).der(),
    # ECDSA takes s and n - s alike (SEC 1, 4.1.4): who has one signature can write the other.
    # It is over the same bytes and claims nothing else; protocol.md, D, does not forbid it.
    "s minus the order": lambda: GOOD.but(
        sign=lambda _: sequence(wide(R), wide(N - S))
    ).der(),
    # RFC 5280, 4.2: an extension that is not critical may be ignored
    "an unknown extension that is not critical": lambda: GOOD.but(
        extensions=(*GOOD.extensions, bad.extension(UNKNOWN, b"no DER", b""))
    ).der(),
    "extensions in another order": lambda: GOOD.but(extensions=GOOD.extensions[::-1]).der(),
    # RFC 5280, 4.2.1.9: pathLen limits what is below this certificate, and nothing is
    "pathLen 0": lambda: GOOD.with_extension(
        bad.BASIC_CONSTRAINTS, bad.basic_constraints(bad.TRUE, integer(b"\x00"))
    ).der(),
    "pathLen of 1,000 bits": lambda: GOOD.with_extension(
        bad.BASIC_CONSTRAINTS, bad.basic_constraints(bad.TRUE, integer(b"\x01" + bytes(125)))
    ).der(),
    # RFC 5280, 4.2.1.3 and 4.2.1.9, asks CAs to set the flag, not verifiers to demand it
    "key usage not critical": lambda: bad.resigned(
        bad.changed(ENROLLED.certificate, (0, 7, 0, 2, 1), lambda _: b""), 1
    ),
    "basic constraints not critical": lambda: bad.resigned(
        bad.changed(ENROLLED.certificate, (0, 7, 0, 3, 1), lambda _: b""), 1
    ),
    # Open Profile for DICE, "X.509 Certificates": every field is OPTIONAL
    "no measurements": lambda: GOOD.with_extension(bad.DICE, bad.dice_extension()).der(),
    # RFC 5280, 4.1.2.5.2, asks CAs for UTCTime before 2050
    "GeneralizedTime before 2050": lambda: dated(bad.generalized_time("20180322235959Z")),
}  # fmt: skip


# Bodies

PEM = ENROLLED.pem.encode()
BEGIN, *LINES, END = PEM.splitlines(keepends=True)
BASE64 = b"".join(LINES)
JUNK = random.Random(9).randbytes(16 * 1024).replace(b"-", b"+")
PROC_TYPE = b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n"

REFUSED_BODIES = {
    "nothing": b"",
    "a NUL": b"\x00",
    "DER": ENROLLED.certificate,
    "DER in hex": ENROLLED.certificate.hex().encode(),
    "base64 alone": BASE64,
    **{
        f"the label {label}": encoded(ENROLLED.certificate, label)
        for label in ("X509 CERTIFICATE", "TRUSTED CERTIFICATE", "CERTIFICATE REQUEST", "PKCS7",
                      "PUBLIC KEY", "certificate", " CERTIFICATE", "CERTIFICATE ", "CERTIFICATES",
                      "CERTIFICATE\0", "")
    },
    "the label ends otherwise": PEM.replace(b"END CERT", b"END X509 CERT"),
    "the label begins otherwise": PEM.replace(b"BEGIN CERT", b"BEGIN X509 CERT"),
    "four dashes": PEM.replace(b"-----", b"----"),
    "six dashes": PEM.replace(b"-----", b"------"),
    "dashes of another script": PEM.replace(b"-", "\u2010".encode()),
    "BEGIN twice": BEGIN + PEM,
    "END at once": BEGIN + END,
    "END first": END + BEGIN + BASE64,
    "no END": BEGIN + BASE64,
    "no BEGIN": BASE64 + END,
    "all in one line": BEGIN.strip() + BASE64.replace(b"\n", b"") + END,
    "base64 in the line of BEGIN": BEGIN.strip() + BASE64 + END,
    "END in the last line of base64": BEGIN + BASE64.strip() + END,
    "END indented": BEGIN + BASE64 + b" " + END,
    "BEGIN indented": b" " + PEM,
    "lines of CR": PEM.replace(b"\n", b"\r"),
    "lines of NEL": PEM.replace(b"\n", "\u0085".encode()),
    "lines of two characters, a backslash and n": PEM.replace(b"\n", b"\\n"),
    "no-break spaces": PEM.replace(b"\n", "\u00a0\n".encode()),
    "Proc-Type": BEGIN + PROC_TYPE + BASE64 + END,
    "a header": BEGIN + b"Comment: none\n\n" + BASE64 + END,
    "a comment inside": BEGIN + LINES[0] + b"# comment\n" + b"".join(LINES[1:]) + END,
    "an empty certificate": BEGIN + b"\n" + END,
    "padding alone": BEGIN + b"====\n" + END,
    "padding missing": encoded(ENROLLED.certificate + b"\x00").replace(b"=", b""),
    "padding too much": PEM.replace(b"\n" + END, b"=\n" + END),
    "padding in the middle": BEGIN + b"MII=\n" + BASE64 + END,
    "a character missing": BEGIN + BASE64[1:] + END,
    "a character more": BEGIN + b"M" + BASE64 + END,
    "characters of base64url": PEM.replace(b"+", b"-").replace(b"/", b"_"),
    "characters outside": BEGIN + b"!" + BASE64 + END,
    "a NUL after BEGIN": PEM.replace(BEGIN, BEGIN.strip() + b"\0\n"),
    "a NUL before BEGIN": b"\0" + PEM,
    "a NUL inside": BEGIN + BASE64[:80] + b"\0" + BASE64[80:] + END,
    "a NUL at the end of every line": PEM.replace(b"\n", b"\0\n"),
    "UTF-16, little endian": PEM.decode().encode("utf-16-le"),
    "UTF-16, big endian": PEM.decode().encode("utf-16-be"),
    "UTF-16 with a mark": PEM.decode().encode("utf-16"),
    "UTF-32": PEM.decode().encode("utf-32"),
    "UTF-7": PEM.replace(b"+", b"+-"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + PEM,
    "percent-encoded": PEM.replace(b"+", b"%2B").replace(b"\n", b"%0A"),
    "a form": b"certificate=" + PEM,
    "JSON": json.dumps({"certificate": PEM.decode()}).encode(),
    "quoted, as in an e-mail": b"> " + PEM.replace(b"\n", b"\n> "),
    "base64 of the PEM": encoded(PEM),
    "a PEM in a PEM": BEGIN + PEM + END,
    "two certificates in one block": encoded(ENROLLED.certificate * 2),
    "the second block is the board's": STRANGER.pem.encode() + PEM,
    "the first block is broken": BEGIN + b"!!!!\n" + END + PEM,
    "the first block is empty": BEGIN + b"\n" + END + PEM,
    "the first block is the root": ENROLLED.root_pem.encode() + PEM,
    "the first block is cut": PEM[:200] + b"\n" + PEM,
    "16 KB of junk": JUNK,
    "16 KB of junk in the same line": JUNK.replace(b"\n", b"x") + PEM,
    "16 KB of junk after BEGIN": BEGIN + JUNK + BASE64 + END,
    "16 KB of junk before a stranger's": JUNK + b"\n" + STRANGER.pem.encode(),
    "16 KB of blanks inside": BEGIN + b" " * 16 * 1024 + BASE64 + END,
    "600 times BEGIN": BEGIN * 600,
    "600 times BEGIN in one line": BEGIN.strip() * 600 + b"\n" + END,
    "600 times END": END * 600,
}  # fmt: skip

ACCEPTED_BODIES = {
    "CRLF": PEM.replace(b"\n", b"\r\n"),
    "no line end at the end": PEM.rstrip(),
    "blanks at the ends of lines": PEM.replace(b"\n", b" \t\n"),
    "base64 in one line": BEGIN + BASE64.replace(b"\n", b"") + b"\n" + END,
    "base64 in lines of 4": BEGIN + re.sub(rb"(....)", rb"\1\n", BASE64.replace(b"\n", b"")) + END,
    "base64 indented": BEGIN + b"".join(b"\t" + line for line in LINES) + END,
    "empty lines": PEM.replace(b"\n", b"\n\n"),
    "text before": b"hello\n" + PEM,
    "a NUL in the line before": b"\0\n" + PEM,
    "another block before": encoded(b"key", "PUBLIC KEY") + PEM,
    "a broken block after": PEM + BEGIN + b"!!!!\n" + END,
    "a stranger's after": PEM + STRANGER.pem.encode(),
    "the root after": PEM + ENROLLED.root_pem.encode(),
    "NULs after": PEM + b"\0" * 100,
    "UTF-16 after": PEM + PEM.decode().encode("utf-16"),
    "junk before": JUNK[:14_000] + b"\n" + PEM,
}
