"""The folder of an agent's certificates on disk: made all or not at all, renewed file by file.

What stands in the certificates is `issuing`'s.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ota_agent.issuing import (
    ECDSA,
    RSA,
    Issued,
    IssuingError,
    key_of,
    make_ca,
    make_server,
    names_of,
)

_PUBLIC_MODE, _SECRET_MODE = 0o644, 0o600


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


def _read_ca(files: Folder, now: datetime) -> Issued:
    """The CA in the folder. Raises IssuingError if it cannot issue, with the folder's name."""
    ca = Issued(_read_certificates(files.ca_pem)[0], _read(files.ca_key))
    try:
        key_of(ca)
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
