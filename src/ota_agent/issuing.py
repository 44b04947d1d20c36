"""Making the certificates of an OTA agent: a CA that boards trust, and the agent's own under it.

Both are dated from 2000, where a board's clock starts at power-on (architecture.md, "The clock").
Where they stand on disk is `certificate_folder`'s; how the agent loads them, `tls_context`'s.
"""

import ipaddress
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dice.server_certificate import MAXIMUM_BYTES
from ota_agent.errors import CertificateError

# What boards ask for, unless their setting `agent_name` says otherwise.
AGENT_NAME = "ota-agent"
VALID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
# ECDSA P-256; RSA of 2048 bits for the agent, which pays for every handshake, 3072 for a CA.
ECDSA, RSA = "ecdsa", "rsa"

_CA_RSA_BITS = 3072
_AGENT_RSA_BITS = 2048
# RFC 1034, 3.5, as RFC 1123, 2.1 has it; an asterisk for the first label: RFC 6125, 6.4.3.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
_LONGEST_DNS_NAME = 253

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class IssuingError(CertificateError):
    """The certificates cannot be made: a file is in the way, missing, or not what it should be."""


class RequestError(IssuingError, ValueError):
    """What was asked for cannot be: a name, a number of days."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key: PKCS #8, PEM, not encrypted, for an agent starts without
    anybody at hand."""

    certificate: x509.Certificate
    key: bytes = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate for a file."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate for a board."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


def expiry(days: int, now: datetime) -> datetime:
    """So many days from now, to the second. Raises RequestError beyond the year 9999."""
    try:
        return now.replace(microsecond=0) + timedelta(days=days)
    except OverflowError:
        raise RequestError(f"{days} days from now: expected a date before the year 10000") from None


def alternative_name(text: str) -> x509.DNSName | x509.IPAddress:
    """A DNS name or an address, of IPv4 or IPv6. Raises RequestError."""
    with suppress(ValueError):
        address = ipaddress.ip_address(text)
        if not getattr(address, "scope_id", None):
            return x509.IPAddress(address)
    if len(text) > _LONGEST_DNS_NAME or not _DNS_NAME.fullmatch(text):
        raise RequestError(f"name {text!r}: expected a DNS name or an IP address")
    return x509.DNSName(text.lower())


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """What it is for: its alternative names, else its common name (RFC 6125, 6.4.4)."""
    try:
        extensions = certificate.extensions
        return list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound):
        names: list[x509.GeneralName] = []
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        with suppress(RequestError):
            names.append(alternative_name(str(attribute.value)))
    return names


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of its DER, in hex, as `openssl x509 -fingerprint -sha256` has it."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def key_pem(key: PrivateKey) -> bytes:
    """PKCS #8, PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def make_ca(until: datetime, kind: str = ECDSA) -> Issued:
    """A CA for agents' certificates alone: it can sign no other CA's. Raises RequestError.

    Its name ends in the beginning of its key's identifier, so that two CAs can be told apart.
    """
    key = _make_key(kind, _CA_RSA_BITS)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _common_name(f"{AGENT_NAME} CA {identifier.digest[:4].hex()}")
    certificate = (
        _builder(name, name, key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issued(certificate, key_pem(key))


def make_server(
    ca: Issued, names: Iterable[x509.GeneralName], until: datetime, kind: str = ECDSA
) -> Issued:
    """A server certificate under this CA, for AGENT_NAME and for these names as well.

    kind: ECDSA or RSA. Raises RequestError if it would outlive the CA or be larger than boards
    read, IssuingError if the CA cannot issue or its key is not its own.
    Source: RFC 5280, 4.2.1.
    """
    ca_key = key_of(ca)
    _refuse_to_outlive(ca.certificate, until)
    key = _make_key(kind, _AGENT_RSA_BITS)
    all_names = dict.fromkeys((x509.DNSName(AGENT_NAME), *names))
    certificate = (
        _builder(_common_name(AGENT_NAME), ca.certificate.subject, key, until)
        .add_extension(x509.SubjectAlternativeName(all_names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_identifier(ca.certificate), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    issued = Issued(certificate, key_pem(key))
    size = len(issued.der)
    if size > MAXIMUM_BYTES:
        raise RequestError(
            f"{len(all_names)} names: a certificate of {size} bytes,"
            f" boards read at most {MAXIMUM_BYTES}"
        )
    return issued


def _refuse_to_outlive(ca: x509.Certificate, until: datetime) -> None:
    ca_until = ca.not_valid_after_utc
    if until > ca_until:
        raise RequestError(
            f"the agent's certificate would outlive its CA: until {until:%Y-%m-%d}, after its CA's"
            f" {ca_until:%Y-%m-%d}"
        )


def _make_key(kind: str, rsa_bits: int) -> PrivateKey:
    if kind == RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
    return ec.generate_private_key(ec.SECP256R1())


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, until: datetime
) -> x509.CertificateBuilder:
    if until <= VALID_FROM:
        raise RequestError(f"valid until {until:%Y-%m-%d}: expected a date after 2000-01-01")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(until)
    )


def _key_usage(*purposes: str) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{purpose: purpose in purposes for purpose in every})


def _authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The identifier the CA gives itself, whichever way it was made; else our way."""
    try:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        own = x509.SubjectKeyIdentifier.from_public_key(ca.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def key_of(ca: Issued) -> PrivateKey:
    """The CA's private key. Raises IssuingError unless it is its own and the CA can issue."""
    try:
        key = serialization.load_pem_private_key(ca.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IssuingError("the CA's key: expected an unencrypted private key, PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise IssuingError("the CA's key: expected ECDSA or RSA, boards verify no other")
    try:
        is_own = ca.certificate.public_key() == key.public_key()
        extensions = ca.certificate.extensions
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        is_own = is_ca = False
    if not is_ca:
        raise IssuingError("the CA's certificate: expected one of a CA, this is none")
    if not is_own:
        raise IssuingError("the CA's key is not that of its certificate")
    return key
