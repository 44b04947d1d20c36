"""Reading DICE certificates: one certificate of a stream, PEM, DER, and whether it chains.

Reads the profile that `certificate_writer` writes and nothing wider: X.509 v3, P-256,
ecdsa-with-SHA512. Not here: writing, and ordinary server certificates.
"""

import binascii

from ota_crypto import p256
from ota_crypto.compat import const

from . import der, extension, x509
from .chain import verify_chain
from .errors import CertificateError
from .pem import from_pem, to_pem

__all__ = [
    "MAXIMUM_BYTES",
    "Certificate",
    "CertificateError",
    "from_pem",
    "parse",
    "to_pem",
    "total_length",
    "verify_chain",
]

MAXIMUM_BYTES = 4096
_SERIAL_BYTES = const(20)
_CRITICAL_AND_KNOWN = (x509.KEY_USAGE, x509.BASIC_CONSTRAINTS, x509.DICE_EXTENSION)


class Certificate:
    """A parsed certificate; `parse` makes it.

    der: all of it. to_be_signed: the bytes under the signature. signature: (r, s).
    serial: an integer. issuer, subject: Name, DER. not_before, not_after: (year, month, day,
    hour, minute, second), UTC. public_key: a point of P-256, uncompressed, 65 bytes.
    authority_key_id, subject_key_id: bytes or None. key_usage: contents of the BIT STRING or
    None. is_ca: bool. path_length: integer or None. dice: DiceExtension or None;
    dice_is_critical: bool.
    """

    def __init__(self, data):
        self.der = data
        self.authority_key_id = None
        self.subject_key_id = None
        self.key_usage = None
        self.is_ca = False
        self.path_length = None
        self.dice = None
        self.dice_is_critical = False

    def __repr__(self):
        return "<Certificate serial %x>" % self.serial


def total_length(first_bytes):
    """How many bytes the certificate has that begins with these; None if more are needed to tell.

    Never more than 6 are. Raises CertificateError for what cannot begin a certificate and for
    one of more than 4096 bytes.
    """
    if len(first_bytes) == 0:
        return None
    if first_bytes[0] != der.SEQUENCE:
        raise CertificateError("a certificate begins with 30, not %02x" % first_bytes[0])
    header = der.read_header(first_bytes)
    if header is None:
        return None
    total = header[1] + header[2]
    _check_size(total)
    return total


def _check_size(count):
    if count > MAXIMUM_BYTES:
        raise CertificateError("certificate of %d bytes, at most %d" % (count, MAXIMUM_BYTES))


def parse(data):
    """A Certificate from its DER bytes.

    Refuses with CertificateError: more than 4096 bytes, trailing bytes, DER that is not
    minimal, other algorithms or versions, critical extensions unknown here, extensions given
    twice. The one exception from DER is the serial number as the C code writes it, in 20 bytes.
    Not checked here: the signature, and whom the certificate belongs to.
    """
    _check_size(len(data))
    data = bytes(data)
    outer = der.Reader(data)
    sequence = outer.enter(der.SEQUENCE)
    outer.finish("certificate")
    certificate = Certificate(data)
    start = sequence.offset
    body = sequence.enter(der.SEQUENCE)
    certificate.to_be_signed = data[start : sequence.offset]
    _read_algorithm(sequence)
    certificate.signature = der.decode_ecdsa_signature(sequence.bit_string())
    sequence.finish("certificate")
    _read_body(certificate, body)
    return certificate


def _read_body(certificate, body):
    """TBSCertificate, RFC 5280, 4.1."""
    version = body.enter(der.context(0))
    if version.integer() != 2:
        raise CertificateError("certificate version is not 3")
    version.finish("version")
    certificate.serial = _read_serial(body)
    _read_algorithm(body)
    certificate.issuer = _read_name(body)
    validity = body.enter(der.SEQUENCE)
    certificate.not_before = der.read_time(validity)
    certificate.not_after = der.read_time(validity)
    validity.finish("validity")
    certificate.subject = _read_name(body)
    certificate.public_key = _read_public_key(body)
    _read_extensions(certificate, body)
    body.finish("to-be-signed part")


def _read_serial(body):
    """The serial number, also where the C code writes the id with its leading zeros."""
    contents = body.take(der.INTEGER)
    if len(contents) != _SERIAL_BYTES or contents[0] != 0:
        der.check_integer(contents)
    if len(contents) > _SERIAL_BYTES:
        raise CertificateError(
            "serial number of %d bytes, at most %d" % (len(contents), _SERIAL_BYTES)
        )
    return int.from_bytes(contents, "big")


def _read_name(body):
    """A Name, whole; that it is one is checked (RFC 5280, 4.1.2.4), not what it says."""
    whole = body.take_whole(der.SEQUENCE)
    name = der.Reader(whole).enter(der.SEQUENCE)
    _check_not_empty(name)
    while not name.is_at_end():
        attributes = name.enter(der.SET)
        _check_not_empty(attributes)
        while not attributes.is_at_end():
            attribute = attributes.enter(der.SEQUENCE)
            attribute.take(der.OBJECT_IDENTIFIER)
            attribute.skip()
            attribute.finish("attribute of a name")
    return whole


def _check_not_empty(reader):
    if reader.is_at_end():
        raise CertificateError("a name without an attribute")


def _read_algorithm(reader):
    algorithm = reader.enter(der.SEQUENCE)
    oid = algorithm.take(der.OBJECT_IDENTIFIER)
    if oid != x509.ECDSA_WITH_SHA512:
        raise CertificateError("signature algorithm %s, expected ecdsa-with-SHA512" % _hex(oid))
    algorithm.finish("signature algorithm")


def _read_public_key(body):
    info = body.enter(der.SEQUENCE)
    algorithm = info.enter(der.SEQUENCE)
    kind = algorithm.take(der.OBJECT_IDENTIFIER)
    if kind != x509.EC_PUBLIC_KEY or algorithm.take(der.OBJECT_IDENTIFIER) != x509.PRIME256V1:
        raise CertificateError("public key is not on P-256")
    algorithm.finish("public key algorithm")
    point = info.bit_string()
    info.finish("public key")
    if len(point) != 65 or point[0] != 4:
        raise CertificateError("public key is not an uncompressed point of 65 bytes")
    if not p256.is_point(point):
        raise CertificateError("public key is no point of P-256")
    return point


def _read_extensions(certificate, body):
    tagged = body.enter(der.context(3))
    extensions = tagged.enter(der.SEQUENCE)
    tagged.finish("extensions")
    seen = []
    while not extensions.is_at_end():
        entry = extensions.enter(der.SEQUENCE)
        oid = entry.take(der.OBJECT_IDENTIFIER)
        critical = False
        if entry.peek() == der.BOOLEAN:
            critical = entry.boolean()
            if not critical:
                raise CertificateError("DER: a default value is encoded")
        value = entry.take(der.OCTET_STRING)
        entry.finish("extension")
        if oid in seen:
            raise CertificateError("extension %s is there twice" % _hex(oid))
        seen.append(oid)
        if critical and oid not in _CRITICAL_AND_KNOWN:
            raise CertificateError("critical extension %s is unknown here" % _hex(oid))
        _read_extension(certificate, oid, critical, value)


def _read_extension(certificate, oid, critical, value):
    """One extension's value; one that is unknown and not critical is passed over."""
    reader = der.Reader(value)
    if oid == x509.AUTHORITY_KEY_IDENTIFIER:
        sequence = reader.enter(der.SEQUENCE)
        certificate.authority_key_id = sequence.take(der.context(0, False))
        sequence.finish("authority key identifier")
    elif oid == x509.SUBJECT_KEY_IDENTIFIER:
        certificate.subject_key_id = reader.take(der.OCTET_STRING)
    elif oid == x509.KEY_USAGE:
        certificate.key_usage = reader.take(der.BIT_STRING)
    elif oid == x509.BASIC_CONSTRAINTS:
        _read_basic_constraints(certificate, reader.enter(der.SEQUENCE))
    elif oid == x509.DICE_EXTENSION:
        certificate.dice = extension.decode(value)
        certificate.dice_is_critical = critical
        return
    else:
        return
    reader.finish("extension")


def _read_basic_constraints(certificate, sequence):
    """RFC 5280, 4.2.1.9."""
    if sequence.peek() == der.BOOLEAN:
        certificate.is_ca = sequence.boolean()
        if not certificate.is_ca:
            raise CertificateError("DER: a default value is encoded")
    if not sequence.is_at_end():
        certificate.path_length = sequence.integer()
    sequence.finish("basic constraints")


def _hex(data):
    return binascii.hexlify(data).decode()
