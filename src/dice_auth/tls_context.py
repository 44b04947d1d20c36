"""The server's side of TLS: versions, its certificate and key, whose client certificates count."""

import ssl
from pathlib import Path

from dice_auth.errors import SettingsError


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate (chain) and key, PEM.

    client_ca: certificates of CAs, PEM; a client may show a certificate by one of them, and if it
    shows another the handshake fails. Raises SettingsError, one line that names the file.
    """
    for option, path in (("--cert", certificate), ("--key", key), ("--client-ca", client_ca)):
        if path is not None:
            _check_readable(option, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    load_certificate(context, certificate, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise SettingsError(f"--client-ca {client_ca}: expected certificates, PEM") from None
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Into a context, for the connections from now on. Raises SettingsError."""
    try:
        # An empty password: an encrypted key is an error here, never a prompt.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or "not readable"
        raise SettingsError(
            f"--cert {certificate}, --key {key}: expected a PEM certificate and its unencrypted"
            f" PEM key ({reason})"
        ) from None


def _check_readable(option: str, path: Path) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        # A pipe would be waited for, and is empty when OpenSSL reads it in its turn.
        raise SettingsError(f"{option} {path}: not a regular file")
    try:
        path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{option} {path}: {error.strerror}") from None
