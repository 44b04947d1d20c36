"""Judging certificates (X.509) of the agent, its CA and its key, as a board would."""

import ipaddress
import threading
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dice import server_certificate
from dice.errors import CertificateError
from ota_cli.doctor.finding import Findings

# Where a chip's clock starts; certificates by local time are off by hours, which does no harm.
_BOARD_START = datetime(2000, 1, 2, tzinfo=UTC)
_SOON = timedelta(days=30)
_CA_SOON = timedelta(days=180)
_DAY = "%Y-%m-%d"
_MOST_CHAIN = 10
_quiet = threading.Lock()
_UNREADABLE = (
    ValueError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# What mbedTLS on the ESP32 has by default (MBEDTLS_ECP_DP_..., MBEDTLS_RSA).
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_RSA_BITS = (2048, 4096)


def certificates_in(content: bytes) -> list[x509.Certificate]:
    """Those of a PEM file, or the one of a DER file; ValueError if there is none, or one that
    cannot be read."""
    try:
        # What cryptography warns of, a serial number of 0 say, boards take. Its warnings are for
        # programmers, and the filter is the whole process's: one thread at a time.
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _load(content)
    except _UNREADABLE as error:
        raise ValueError("not a certificate") from error
    return found


def _load(content: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN CERTIFICATE" in content:
        found = x509.load_pem_x509_certificates(content)
    else:
        found = [x509.load_der_x509_certificate(content)]
    for each in found:
        # Lazily parsed: what cannot be read shows now.
        _ = (each.extensions, each.not_valid_after_utc, each.not_valid_before_utc)
        _ = (each.subject, each.issuer, each.serial_number)
    return found


def judge_dates(certificate: x509.Certificate, now: datetime, findings: Findings) -> None:
    """Of the agent's own."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        findings.add("agent-cert-expired", f"valid until {end:{_DAY}}, today is {now:{_DAY}}")
    elif end < now + _SOON:
        findings.add("agent-cert-expires-soon", f"valid until {end:{_DAY}} only")
    if begin > now:
        text = f"valid from {begin:{_DAY} %H:%M} UTC, this clock says {now:{_DAY} %H:%M}"
        findings.add("agent-cert-not-yet-valid", text)
    if begin > _BOARD_START:
        text = f"valid from {begin:{_DAY}}, a board without NTP starts in 2000-01-01"
        findings.add("agent-cert-not-from-2000", text)


def judge_dates_between(
    chain: Sequence[x509.Certificate], now: datetime, findings: Findings
) -> None:
    """Of the certificates that come along with the agent's own."""
    for each in chain[1:_MOST_CHAIN]:
        if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
            until = f"{each.not_valid_after_utc:{_DAY}}"
            text = f"{name_of(each)}, which comes along, is valid until {until}"
            findings.add("agent-cert-expired", f"{text}, today is {now:{_DAY}}")


def judge_ca(certificate: x509.Certificate, now: datetime, findings: Findings) -> None:
    """Of a CA for boards."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # What is self-signed may be the agent's own, trusted as it is.
    if not is_ca(certificate) and certificate.issuer != certificate.subject:
        name = name_of(certificate)
        findings.add("agent-ca-not-ca", f"expected a CA (basicConstraints CA:TRUE), found {name}")
    if not begin <= now <= end:
        text = f"valid from {begin:{_DAY}} until {end:{_DAY}}, today is {now:{_DAY}}"
        findings.add("agent-ca-expired", text)
    elif end < now + _CA_SOON:
        findings.add("agent-ca-expires-soon", f"valid until {end:{_DAY}} only")
    if _BOARD_START < begin <= now:
        findings.add("agent-ca-not-from-2000", f"valid from {begin:{_DAY}}")


def judge_leaf(certificate: x509.Certificate, name: str, findings: Findings) -> None:
    """name: what boards ask for."""
    _judge_name(certificate, name, findings)
    _judge_key(certificate, findings)
    _judge_hash(certificate, findings)
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(
        usage
    ):
        found = ", ".join(oid._name for oid in usage)
        findings.add("agent-cert-purpose", f"expected serverAuth, found {found}")


def _judge_name(certificate: x509.Certificate, name: str, findings: Findings) -> None:
    try:
        parsed = server_certificate.parse(certificate.public_bytes(serialization.Encoding.DER))
    except CertificateError as error:
        findings.add("agent-not-trusted", f"boards cannot read it: {error}")
        return
    if not server_certificate.matches_name(parsed, name):
        text = f"expected the name {name}, found {', '.join(_names(parsed)) or 'none'}"
        findings.add("agent-cert-wrong-name", text)
    elif not parsed.has_alternative_names:
        text = f"expected subjectAltName DNS:{name}, found the common name alone"
        findings.add("agent-cert-no-san", text)


def _names(parsed: server_certificate.ServerCertificate) -> list[str]:
    if not parsed.has_alternative_names:
        return [parsed.common_name] if parsed.common_name else []
    addresses = [ipaddress.ip_address(raw) for raw in parsed.addresses if len(raw) in (4, 16)]
    return [*parsed.dns_names, *map(str, addresses)][:8]


def _judge_key(certificate: x509.Certificate, findings: Findings) -> None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        findings.add("agent-cert-key-type", "expected ECDSA P-256 or RSA-2048, found another key")
        return
    if isinstance(key, rsa.RSAPublicKey):
        fits, found = _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1], f"RSA-{key.key_size}"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        fits, found = key.curve.name in _CURVES, f"ECDSA {key.curve.name}"
    else:
        fits, found = False, type(key).__name__.strip("_").replace("PublicKey", "")
    if not fits:
        findings.add("agent-cert-key-type", f"expected ECDSA P-256 or RSA-2048, found {found}")


def _judge_hash(certificate: x509.Certificate, findings: Findings) -> None:
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        used = None
    if isinstance(used, hashes.MD5 | hashes.SHA1):
        findings.add("agent-cert-weak-hash", f"expected SHA-256, found {used.name}")


def judge_issuer(
    chain: Sequence[x509.Certificate], cas: Sequence[x509.Certificate], findings: Findings
) -> bool:
    """Whether one of these CAs stands behind a chain, the agent's own certificate first.

    Dates are not looked at here.
    """
    leaf = chain[0]
    is_trusted_itself = leaf in cas and leaf.issuer == leaf.subject
    if is_trusted_itself or _leads_to_ca(leaf, list(chain[1:_MOST_CHAIN]), cas):
        return True
    wanted = ", ".join(name_of(ca) for ca in cas)
    issuer = readable(leaf.issuer)
    if leaf.issuer == leaf.subject:
        findings.add("agent-self-signed", f"expected one by {wanted}, found one by itself")
    elif len(chain) > 1:
        along = ", ".join(name_of(each) for each in chain[1:4])
        text = f"issued by {issuer}; along came {along}; the CA for the board is {wanted}"
        findings.add("agent-chain-incomplete", text)
    elif any(ca.subject == leaf.issuer for ca in cas):
        text = f"issued by another CA of the same name ({issuer}): its key is not this one's"
        findings.add("agent-unknown-issuer", text)
    else:
        text = f"expected the issuer {wanted} (the CA for the board), found {issuer}"
        findings.add("agent-unknown-issuer", text)
    return False


def _leads_to_ca(
    leaf: x509.Certificate, between: list[x509.Certificate], cas: Sequence[x509.Certificate]
) -> bool:
    """Looks at each certificate once, however a stranger's chain is knotted."""
    reached = [leaf]
    for certificate in reached:
        if any(_issued(ca, certificate) for ca in cas):
            return True
        reached += [each for each in between if each not in reached and _issued(each, certificate)]
    return False


def _issued(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    if not is_ca(ca):
        return False
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def name_of(certificate: x509.Certificate) -> str:
    return readable(certificate.subject)


def readable(name: x509.Name) -> str:
    """The common name, else all of it."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(str(found[0].value)[:64] if found else name.rfc4514_string()[:64])
