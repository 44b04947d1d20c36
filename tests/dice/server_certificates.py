"""TLS server certificates for tests, made by `cryptography`; keys are made once a test process."""

import functools
import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from dice import der, der_writer

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SERVER_NAME = "agent.example.org"
EXTENSIONS = der.context(3)


@functools.cache
def key(kind: str, which: str = "server") -> Any:
    """A private key: `rsa` of 2048 bits, `p256` or `p384`; one for each `which`."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def alternative_names(*names: str) -> x509.SubjectAlternativeName:
    """Host names, addresses, and what has an @ as e-mail."""

    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)

    return x509.SubjectAlternativeName(map(general, names))


class Authority(NamedTuple):
    """A CA. Without `key_ids` neither it nor what it issues has key identifiers."""

    name: x509.Name
    key: Any
    key_ids: bool
    der: bytes


@functools.cache
def authority(
    kind: str = "p256", name: str = "test CA", which: str = "CA", key_ids: bool = True
) -> Authority:
    """The CA with this name, and this key."""
    subject, private = common_name(name), key(kind, which)
    self = Authority(subject, private, key_ids, b"")
    constraints = [(x509.BasicConstraints(True, None), True)]
    made = issue(self, subject=subject, private=private, names=None, extensions=constraints)
    return self._replace(der=made)


def issue(
    by: Authority,
    subject: x509.Name | None = None,
    private: Any = None,
    names: Iterable[str] | None = (SERVER_NAME,),
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + DAY,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """A certificate, DER. names: for the subjectAltName, None for no such extension."""
    public = (private or key("p256")).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(SERVER_NAME) if subject is None else subject)
        .issuer_name(by.name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if by.key_ids:
        own = x509.SubjectKeyIdentifier.from_public_key(public)
        issuers = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(own, False).add_extension(issuers, False)
    if names is not None:
        builder = builder.add_extension(alternative_names(*names), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    made = builder.sign(by.key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def as_version_1(data: bytes, by: Authority) -> bytes:
    """The same certificate without version and extensions, signed again by a CA's P-256 key."""
    body = der.Reader(data).enter(der.SEQUENCE).enter(der.SEQUENCE)
    body.skip()
    start = end = body.offset
    while body.peek() not in (None, EXTENSIONS):
        body.skip()
        end = body.offset
    to_be_signed = der_writer.encode(der.SEQUENCE, data[start:end])
    signature = by.key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    whole = der.Reader(data).enter(der.SEQUENCE)
    whole.skip()
    algorithm = whole.take_whole(der.SEQUENCE)
    bits = der_writer.encode(der.BIT_STRING, b"\x00", signature)
    return der_writer.encode(der.SEQUENCE, to_be_signed, algorithm, bits)
