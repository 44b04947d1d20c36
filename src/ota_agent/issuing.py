"""Making the certificates of an OTA agent: a CA that boards trust, and the agent's own under it.

Both are dated from 2000, where a board's clock starts at power-on (architecture.md, "The clock").
What to make and what to say of it is the command line's; how the agent loads it, `tls_context`'s.
"""

import ipaddress
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
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
_PUBLIC_MODE, _SECRET_MODE = 0o644, 0o600

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


@dataclass(frozen=True)
class Folder:
    """Which file is which in a folder of certificates."""

    path: Path

    @property
    def ca_pem(self) -> Path:
        """The CA's certificate, for what runs on a computer."""
        return self.path / "ca.pem"

    @property
    def ca_der(self) -> Path:
        """The same for boards: MicroPython's TLS takes only DER."""
        return self.path / "ca.der"

    @property
    def ca_key(self) -> Path:
        """Whoever has it can pass for the agent."""
        return self.path / "ca.key"

    @property
    def certificate(self) -> Path:
        """The agent's."""
        return self.path / "agent.pem"

    @property
    def key(self) -> Path:
        """The agent's."""
        return self.path / "agent.key"


@dataclass(frozen=True)
class File:
    """What a file is to hold. secret: for its owner's eyes only."""

    path: Path
    content: bytes = field(repr=False)
    secret: bool = False


def create(
    folder: Path,
    names: Iterable[x509.GeneralName],
    kind: str,
    until: datetime,
    ca_until: datetime,
) -> tuple[Issued, Issued]:
    """Make a CA and an agent's certificate under it, five files (see Folder), all or none.

    names, kind: as for `make_server`. Returns the CA and the agent's. Raises RequestError, and
    IssuingError if one of the files exists or cannot be written.
    """
    files = Folder(folder)
    ca = make_ca(ca_until, kind)
    agent = make_server(ca, names, until, kind)
    write_new(
        (
            File(files.ca_key, ca.key, secret=True),
            File(files.ca_pem, ca.pem),
            File(files.ca_der, ca.der),
            File(files.key, agent.key, secret=True),
            File(files.certificate, agent.pem),
        )
    )
    return ca, agent


def renew(
    folder: Path,
    names: Iterable[x509.GeneralName],
    kind: str | None,
    until: datetime,
    now: datetime,
) -> tuple[Issued, Issued]:
    """Replace the agent's certificate and key by new ones under the CA in the same folder.

    names: as for `make_server`; none: those of the certificate that is there. kind: None: as that
    one's. Certificates that follow it in its file stay. Returns the CA and the new one. Raises
    RequestError, and IssuingError if the files are not what they should be or cannot be replaced.
    """
    files = Folder(folder)
    ca = _read_ca(files, now)
    names = list(names)
    chain = _read_chain(files.certificate, ca.certificate, needed=not names)
    if chain:
        names = names or names_of(chain[0])
        kind = kind or _kind_of(chain[0])
    agent = make_server(ca, names, until, kind or ECDSA)
    content = b"".join(
        each.public_bytes(serialization.Encoding.PEM) for each in (agent.certificate, *chain[1:])
    )
    # The key first: an agent that starts between the two finds a pair that does not fit, and says
    # so; one that runs keeps the old pair until both are there.
    _replace(
        (
            File(files.key, agent.key, secret=True),
            File(files.certificate, content),
        )
    )
    return ca, agent


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
    ca_key = _key_of(ca)
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


def _key_of(ca: Issued) -> PrivateKey:
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


def _read_ca(files: Folder, now: datetime) -> Issued:
    """The CA in the folder. Raises IssuingError if it cannot issue, with the folder's name."""
    ca = Issued(_read_certificates(files.ca_pem)[0], _read(files.ca_key))
    try:
        _key_of(ca)
    except IssuingError as error:
        raise IssuingError(f"{files.ca_pem}, {files.ca_key}: {error}") from None
    until = ca.certificate.not_valid_after_utc
    if until <= now:
        raise IssuingError(f"{files.ca_pem}: the CA expired on {until:%Y-%m-%d}")
    return ca


def _read_chain(path: Path, ca: x509.Certificate, *, needed: bool) -> list[x509.Certificate]:
    """The agent's certificate and what follows it; nothing if there is none and none is needed."""
    if not needed and not os.path.lexists(path):
        return []
    chain = _read_certificates(path)
    try:
        chain[0].verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise IssuingError(
            f"{path}: issued by {chain[0].issuer.rfc4514_string()} with another key than the CA's"
            " here: boards that trust that one would not trust a new certificate"
        ) from None
    return chain


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise IssuingError(f"{path}: expected a certificate, PEM") from None


def _read(path: Path) -> bytes:
    with _one_line(path):
        return path.read_bytes()


def _kind_of(certificate: x509.Certificate) -> str:
    try:
        is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    except (ValueError, UnsupportedAlgorithm):
        is_rsa = False
    return RSA if is_rsa else ECDSA


def write_new(files: Sequence[File]) -> None:
    """Write all of them or none, into one folder, which is made if need be; over nothing that
    exists. Raises IssuingError.
    """
    for file in files:
        if os.path.lexists(file.path):
            raise IssuingError(f"{file.path} is there already: nothing was written")
    with ExitStack() as undo:  # an interrupt undoes it as well
        _make_folder(files[0].path.parent, undo)
        for file in files:
            _write_new(file, undo)
        _sync_folder(files[0].path.parent)
        undo.pop_all()


def _make_folder(folder: Path, undo: ExitStack) -> None:
    for each in reversed((folder, *folder.parents)):
        if not os.path.lexists(each):
            with _one_line(each), suppress(FileExistsError):
                each.mkdir()
                undo.callback(_give_up, each.rmdir)


def _write_new(file: File, undo: ExitStack) -> None:
    mode = _SECRET_MODE if file.secret else _PUBLIC_MODE
    with _one_line(file.path):
        descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        undo.callback(_give_up, file.path.unlink)
        _fill(descriptor, file.content)


def _fill(descriptor: int, content: bytes) -> None:
    """Write it, on the disk when this returns, and close."""
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def _replace(files: Sequence[File]) -> None:
    """Put each in place of the file that has its name, in this order. Each is the old one or the
    new, whole; all new ones are on the disk before the first old one goes."""
    with ExitStack() as undo:
        beside = [_write_beside(file, undo) for file in files]
        for file, new in zip(files, beside, strict=True):
            with _one_line(file.path):
                os.replace(new, file.path)
        undo.pop_all()
    _sync_folder(files[0].path.parent)


def _write_beside(file: File, undo: ExitStack) -> Path:
    """A file in the same folder, as readable as the one it will replace: an agent of another user
    must be able to read it. One that is secret is for others never."""
    with _one_line(file.path):
        descriptor, name = tempfile.mkstemp(  # with mode 0600
            dir=file.path.parent, prefix=f".{file.path.name}."
        )
        beside = Path(name)
        undo.callback(_give_up, beside.unlink)
        _fill(descriptor, file.content)
        try:
            old = file.path.stat()
        except FileNotFoundError:
            beside.chmod(_SECRET_MODE if file.secret else _PUBLIC_MODE)
        else:
            os.chown(beside, old.st_uid, old.st_gid)
            beside.chmod(old.st_mode & (0o660 if file.secret else 0o666))
    return beside


def _give_up(remove: Callable[[], None]) -> None:
    """What cannot be undone is left: the failure that led here is what the user must hear of."""
    with suppress(OSError):
        remove()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every network file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """The system's refusals as an IssuingError that names the file."""
    try:
        yield
    except OSError as error:
        raise IssuingError(f"{path}: {(error.strerror or str(error)).lower()}") from None
