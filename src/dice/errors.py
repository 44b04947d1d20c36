"""What this package raises about bytes that somebody else made."""


class DiceError(Exception):
    """Root of this package's errors."""


class CertificateError(DiceError):
    """Bytes that are not a certificate this package takes: not DER, not PEM, not this profile."""


class EvidenceError(DiceError):
    """Bytes that are not evidence this package takes."""
