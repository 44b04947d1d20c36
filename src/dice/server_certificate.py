"""Reading a TLS server's certificate to explain why it was refused; it decides nothing.

X.509 v1 and v3 with any key, signature algorithm and extensions. Whether a connection is secure
is for mbedTLS or OpenSSL to say; DICE certificates are for `certificate`.
"""

from ota_crypto.compat import const

from . import der, x509
from .errors import CertificateError

MAXIMUM_BYTES = 8192

# id-at-commonName, 2.5.4.3; id-ce-subjectAltName, 2.5.29.17
_COMMON_NAME = const(b"\x55\x04\x03")
_SUBJECT_ALT_NAME = const(b"\x55\x1d\x11")
# TBSCertificate version [0], extensions [3]; GeneralName dNSName [2], iPAddress [7];
# AuthorityKeyIdentifier keyIdentifier [0]
_VERSION = const(0xA0)
_EXTENSIONS = const(0xA3)
_DNS_NAME = const(0x82)
_IP_ADDRESS = const(0x87)
_KEY_IDENTIFIER = const(0x80)


class ServerCertificate:
    """What a certificate says of whose it is, since when and until when; `parse` makes it.

    issuer, subject: Name, DER with its header. not_before, not_after: (year, month, day, hour,
    minute, second), UTC, both inclusive. has_alternative_names: whether there is a
    subjectAltName, with whatever kind of names. dns_names: its dNSNames, a list of str.
    addresses: its iPAddresses, a list of bytes, 4 or 16 each where they are right. common_name:
    the subject's first, str or None. authority_key_id, subject_key_id: bytes or None.
    A name in no UTF-8 has `?` in place of what is not ASCII.
    """

    def __init__(self):
        self.has_alternative_names = False
        self.dns_names = []
        self.addresses = []
        self.authority_key_id = None
        self.subject_key_id = None


def parse(data):
    """A ServerCertificate from its DER, bytes or a memoryview of at most 8192 bytes; copies only
    what it returns.

    Raises CertificateError for a larger one, trailing bytes, DER that is not minimal, and for
    other than a certificate's structure. Passed over: the version, the serial number, keys,
    signature and all other extensions, critical ones as well.
    Source: RFC 5280, 4.1; 4.1.2.4 (Name), 4.1.2.5 (dates).
    """
    if len(data) > MAXIMUM_BYTES:
        raise CertificateError("certificate of %d bytes, at most %d" % (len(data), MAXIMUM_BYTES))
    outer = der.Reader(data)
    sequence = outer.enter(der.SEQUENCE)
    outer.finish("certificate")
    body = sequence.enter(der.SEQUENCE)
    sequence.skip()  # signatureAlgorithm
    sequence.skip()  # signature
    sequence.finish("certificate")
    certificate = ServerCertificate()
    if body.peek() == _VERSION:
        body.skip()
    body.skip()  # serialNumber
    body.skip()  # signature's algorithm
    certificate.issuer = body.take_whole(der.SEQUENCE)
    validity = body.enter(der.SEQUENCE)
    certificate.not_before = der.read_time(validity)
    certificate.not_after = der.read_time(validity)
    validity.finish("validity")
    certificate.subject = body.take_whole(der.SEQUENCE)
    common_names = _common_names(certificate.subject)
    certificate.common_name = common_names[0] if common_names else None
    body.skip()  # subjectPublicKeyInfo
    while not body.is_at_end():
        if body.peek() == _EXTENSIONS:
            _read_extensions(certificate, body.enter(_EXTENSIONS))
        else:
            body.skip()  # issuerUniqueID, subjectUniqueID
    return certificate


def _common_names(name):
    """RFC 5280, 4.1.2.4: a sequence of sets of attributes, each a type and a string."""
    found = []
    sets = der.Reader(name).enter(der.SEQUENCE)
    while not sets.is_at_end():
        attributes = sets.enter(der.SET)
        while not attributes.is_at_end():
            attribute = attributes.enter(der.SEQUENCE)
            kind = attribute.take(der.OBJECT_IDENTIFIER)
            value = attribute.take(attribute.peek() or 0)
            attribute.finish("name")
            if kind == _COMMON_NAME:
                found.append(_text(value))
    return found


def _text(contents):
    try:
        return contents.decode()
    except UnicodeError:
        return "".join([chr(byte) if byte < 0x80 else "?" for byte in contents])


def _read_extensions(certificate, tagged):
    """RFC 5280, 4.2.1.1 (authority key), 4.2.1.2 (subject key), 4.2.1.6 (alternative names)."""
    extensions = tagged.enter(der.SEQUENCE)
    tagged.finish("extensions")
    while not extensions.is_at_end():
        entry = extensions.enter(der.SEQUENCE)
        oid = entry.take(der.OBJECT_IDENTIFIER)
        if entry.peek() == der.BOOLEAN:
            entry.skip()  # critical
        value = entry.enter(der.OCTET_STRING)
        entry.finish("extension")
        if oid == _SUBJECT_ALT_NAME:
            certificate.has_alternative_names = True
            _read_names(certificate, value.enter(der.SEQUENCE))
        elif oid == x509.SUBJECT_KEY_IDENTIFIER:
            certificate.subject_key_id = value.take(der.OCTET_STRING)
        elif oid == x509.AUTHORITY_KEY_IDENTIFIER:
            identifier = value.enter(der.SEQUENCE)
            if identifier.peek() == _KEY_IDENTIFIER:
                certificate.authority_key_id = identifier.take(_KEY_IDENTIFIER)


def _read_names(certificate, names):
    while not names.is_at_end():
        tag = names.peek()
        if tag == _DNS_NAME:
            certificate.dns_names.append(_text(names.take(tag)))
        elif tag == _IP_ADDRESS:
            certificate.addresses.append(names.take(tag))
        else:
            names.skip()


def matches_name(certificate, name):
    """Whether the certificate is for this host, as mbedTLS has it.

    name: str, a host name or an IPv4 address, as the connection was asked for. Where there is a
    subjectAltName only that counts, else any common name of the subject. Upper and lower case
    are the same in ASCII; `*.` stands for exactly one label, the leftmost, and the rest may be
    one label (OpenSSL wants two). An IPv4 address may be an iPAddress or, as mbedTLS has it,
    stand as a host name. Not read here: IPv6 addresses and URIs, which match nothing.
    Source: RFC 6125, 6.4; mbedTLS 3.6 library/x509_crt.c, x509_crt_verify_name.
    """
    if certificate.has_alternative_names:
        candidates = certificate.dns_names
        for address in certificate.addresses:
            if len(address) == 4 and "%d.%d.%d.%d" % tuple(address) == name:
                return True
    else:
        candidates = _common_names(certificate.subject)
    # bytes.lower() knows ASCII alone
    wanted = name.encode().lower()
    accepted = [wanted]
    dot = wanted.find(b".")
    if 0 < dot < len(wanted) - 1:
        accepted.append(b"*" + wanted[dot:])
    for candidate in candidates:
        pattern = candidate.encode().lower()
        if pattern in accepted:
            return True
    return False


def failed_checks(certificate, ca_certificates, name, now):
    """The names of the checks that fail, all of them, as a list; empty means nothing found here.

    certificate: what `parse` returns. ca_certificates: DER of each that is trusted; one that
    cannot be parsed counts as not there. name: as for `matches_name`. now: (year, month, day,
    hour, minute, second), UTC, as `time.gmtime()[:6]`.
    Names, in this order: `unknown-issuer` (of no CA is the subject the issuer, byte for byte, and
    the key id the authority key id where both are there), `wrong-name`, `not-yet-valid`,
    `expired`.
    Not checked here: the signature, so also a CA of the same name with another key and no key
    ids; the CAs' own dates; what keys, algorithms and key usages are accepted; certificates
    between this one and the CA, which count as an unknown issuer unless they are given as CAs.
    Source: RFC 5280, 6.1.3, (a); RFC 5280, 4.2.1.1.
    """
    checks = (
        ("unknown-issuer", _has_issuer(certificate, ca_certificates)),
        ("wrong-name", matches_name(certificate, name)),
        ("not-yet-valid", certificate.not_before <= now),
        ("expired", now <= certificate.not_after),
    )
    return [check for check, passed in checks if not passed]


def _has_issuer(certificate, ca_certificates):
    identifier = certificate.authority_key_id
    for data in ca_certificates:
        try:
            ca = parse(data)
        except CertificateError:
            continue
        if ca.subject == certificate.issuer and (
            identifier is None or ca.subject_key_id in (None, identifier)
        ):
            return True
    return False
