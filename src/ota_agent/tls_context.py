"""The agent's side of TLS: versions, suites, its certificate and key."""

import ssl
from pathlib import Path

from ota_agent.errors import CertificateError

# For TLS 1.2: forward secrecy and an AEAD, as every mbedTLS has them. AES-128 first: the ESP32 has
# AES in hardware, and so does the machine this runs on. (TLS 1.3 has no other suites.)
_CIPHERS = "ECDHE+AES128+AESGCM:ECDHE+CHACHA20:ECDHE+AES256+AESGCM"

# What OpenSSL says of another key of the same kind, and of another kind.
_ANOTHERS_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate (chain) and key, PEM; no client certificate.

    Raises CertificateError, one line that names the file and the reason.
    """
    for path in (certificate, key):
        if path.exists() and not path.is_file() and not path.is_dir():
            # A pipe would be waited for, and is empty when OpenSSL reads it in its turn.
            raise CertificateError(f"{path}: not a regular file")
        try:
            path.read_bytes()
        except OSError as error:
            raise CertificateError(f"{path}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # A board connects once and rarely again; mbedTLS 3.6 reports a ticket as a read error.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    try:
        # An empty password: an encrypted key is an error here, never a prompt.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason in _ANOTHERS_KEY:
            raise CertificateError(f"{key} is not the key of {certificate}") from error
        raise CertificateError(
            f"{certificate}, {key}: expected a PEM certificate and its unencrypted PEM key"
            f" ({error.reason or 'not readable'})"
        ) from error
    return context
