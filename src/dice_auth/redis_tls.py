"""TLS to Redis: whom to believe, what to show, and in plain words why it does not come about."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio.connection import SSLConnection

from dice_auth.errors import RegistryError

# Of the time for connecting.
_HANDSHAKE_PART = 0.6
# X509_V_ERR_...: the issuer is not found, or not trusted (OpenSSL, x509_vfy.h).
_OF_ISSUER = frozenset({2, 18, 19, 20, 21, 27})


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """ca: certificates to trust and no others, PEM; None: the system's. certificate, key: what is
    shown to Redis, PEM, unencrypted; None: nothing, or a key in the certificate's file."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer, to a server whose certificate is for the host in the URL. Files are read
    here and not again. Raises RegistryError, one line that names the file."""
    for name, path in (("ca", files.ca), ("cert", files.certificate), ("key", files.key)):
        if path is not None:
            _check_readable(name, path)
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError:
        raise RegistryError(f"registry: ca {files.ca}: expected certificates, PEM") from None
    if files.certificate is not None:
        try:
            # An empty password: an encrypted key is an error here, never a prompt.
            context.load_cert_chain(files.certificate, files.key, password="")
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            key = f", key {files.key}" if files.key else ""
            raise RegistryError(
                f"registry: cert {files.certificate}{key}: expected a certificate and its"
                " unencrypted key, PEM"
            ) from None
    return context


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RegistryError(f"registry: {name} {path}: {reason}") from None


class TlsConnection(SSLConnection):
    """With a context that is made once, and not for each connection."""

    def __init__(self, *, context: ssl.SSLContext, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ssl_context.context = context

    def _connection_arguments(self) -> Mapping[str, Any]:
        """Redis without TLS waits for the end of a line, which a handshake may not have: that is
        told apart from a host that does not answer by having an end of its own, an earlier one."""
        arguments = {**super()._connection_arguments()}
        if self.socket_connect_timeout is not None:
            arguments["ssl_handshake_timeout"] = _HANDSHAKE_PART * self.socket_connect_timeout
        return arguments


def reason_of(error: BaseException) -> str | None:
    """Why TLS failed, where that is what this error comes of."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (ssl.SSLError, ConnectionAbortedError)):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ConnectionAbortedError):
        return "no TLS is spoken there (redis:// is for a port without it)"
    if isinstance(cause, ssl.SSLCertVerificationError):
        said = cause.verify_message.rstrip(".")
        hint = "; is ca=FILE in the URL its CA?" if cause.verify_code in _OF_ISSUER else ""
        return f"its certificate does not verify: {said}{hint}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {(cause.reason or str(cause)).lower().replace('_', ' ')}"
    return None
