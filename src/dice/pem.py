"""The PEM form of certificates (RFC 7468)."""

import binascii

from ota_crypto.compat import const

from .errors import CertificateError

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_LINE_BYTES = const(48)
# 4096 bytes in base64, and room for line ends
_MAXIMUM_BODY_BYTES = const(8192)


def to_pem(der):
    """PEM text of a certificate: lines of 64 characters, a newline at the end of each."""
    lines = [_BEGIN.decode() + "\n"]
    for at in range(0, len(der), _LINE_BYTES):
        lines.append(binascii.b2a_base64(der[at : at + _LINE_BYTES]).decode())
    lines.append(_END.decode() + "\n")
    return "".join(lines)


def from_pem(text):
    """The DER bytes of the first certificate in a text (str or bytes).

    Anything before its BEGIN line is skipped, other blocks included; what follows its END line
    is not looked at. Raises CertificateError if there is none, or what is inside is not base64.
    Not checked here: whether the bytes are a certificate.
    """
    if isinstance(text, str):
        text = text.encode()
    start = _find_line(text, _BEGIN)
    if start is None:
        raise CertificateError("PEM: no line %s" % _BEGIN.decode())
    start += len(_BEGIN)
    end = text.find(b"\n" + _END, start)
    if end < 0:
        raise CertificateError("PEM: no line %s after it" % _END.decode())
    if end - start > _MAXIMUM_BODY_BYTES:
        raise CertificateError(
            "PEM: block of %d bytes, at most %d" % (end - start, _MAXIMUM_BODY_BYTES)
        )
    return _decode_base64(b"".join(text[start:end].split()))


def _find_line(text, wanted):
    """Offset of the first line that begins with `wanted` and has nothing else; None if none."""
    at = text.find(wanted)
    while at >= 0:
        line_end = text.find(b"\n", at)
        rest = text[at + len(wanted) : line_end if line_end >= 0 else len(text)]
        if (at == 0 or text[at - 1] == 0x0A) and not rest.strip():
            return at
        at = text.find(wanted, at + 1)
    return None


def _decode_base64(packed):
    """Strict on both runtimes, whose decoders pass over what they do not know."""
    try:
        der = binascii.a2b_base64(packed)
    except ValueError:
        der = b""
    if not der or binascii.b2a_base64(der).strip() != packed:
        raise CertificateError("PEM: what is inside is not base64")
    return der
