"""Certificates as a server reads them: thousands a second, nearly all of one shape."""

from dice import certificate, certificate_shape


def read_certificate(der: bytes) -> certificate.Certificate:
    """As `certificate.parse`, a tenth of the time for the usual shape. Raises CertificateError."""
    return certificate_shape.read(der) or certificate.parse(der)
