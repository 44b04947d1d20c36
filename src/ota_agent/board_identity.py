"""Which board a certificate names, for the log alone: whether it is true is the attestation
server's to say."""

from dataclasses import dataclass

from cryptography import x509

from dice import certificate


@dataclass(frozen=True, slots=True)
class BoardIdentity:
    """The certificate's subject and authority key identifiers, hex; None where it has none.

    root_key_id is that of the root the board was enrolled with: it stays when the firmware changes.
    """

    key_id: str | None
    root_key_id: str | None


NOBODY = BoardIdentity(None, None)


def identity_of(presented: bytes) -> BoardIdentity:
    """Of a certificate, DER; NOBODY where it cannot be read."""
    try:
        extensions = x509.load_der_x509_certificate(presented).extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _read_by_our_own(presented)
    key_id = root_key_id = None
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            key_id = extension.value.digest.hex()
        elif isinstance(extension.value, x509.AuthorityKeyIdentifier):
            identifier = extension.value.key_identifier
            root_key_id = identifier.hex() if identifier else None
    return BoardIdentity(key_id, root_key_id)


def _read_by_our_own(presented: bytes) -> BoardIdentity:
    """The C boards' serial numbers are not always DER: `cryptography` refuses some."""
    try:
        parsed = certificate.parse(presented)
    except certificate.CertificateError:
        return NOBODY
    return BoardIdentity(
        (parsed.subject_key_id or b"").hex() or None, (parsed.authority_key_id or b"").hex() or None
    )
