"""How agent and attestation server know each other for challenges and evidence (protocol.md, C).

The server by HTTPS with a pinned CA, the agent by a bearer token or a client certificate; plain
HTTP only on the loopback interface, or where it is allowed explicitly. Certificates of protocol 1
go the way the originals' do, whatever the URL says.
"""

import ipaddress
import os
import re
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ota_agent.errors import SettingsError

# RFC 6750, section 2.1; short ones can be guessed.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]{16,512}=*")
_MOST_TOKEN_FILE_BYTES = 1024
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOR_OTHERS_OF_ROOT = _FOR_OTHERS & ~stat.S_IRGRP


@dataclass(frozen=True, slots=True)
class Access:
    """tls: for https, None for the system's. headers: lines for each request, secret. refusal: why
    nothing may be asked, empty where it may."""

    tls: ssl.SSLContext | None = None
    headers: str = field(default="", repr=False)
    refusal: str = ""


OPEN_ACCESS = Access()


def read_access(
    url: str,
    ca: Path | None,
    token: Path | None,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    plain_http_allowed: bool,
) -> Access:
    """url: the attestation server's. ca: certificates to trust for it, PEM. token: the file with
    the bearer token, which only its owner may read. certificate, key: the agent's as a client,
    PEM, shown to nobody but a server by this CA. Raises SettingsError where one of these cannot
    be what it should be."""
    tls = _context(ca) if ca is not None else None
    _add_client_certificate(tls, certificate, key)
    secret = _read_token(token) if token is not None else None
    headers = f"Authorization: Bearer {secret}\r\n" if secret is not None else ""
    parts = urlsplit(url)
    refusal = ""
    if parts.scheme != "https" and (ca is not None or not _is_loopback(parts.hostname or "")):
        if ca is not None:
            raise SettingsError(f"--attestation-ca is for https, the attestation server is {url}")
        if not plain_http_allowed:
            refusal = (
                f"protocol 2 needs an attestation server with https, not {url}: see"
                " --attestation-ca and --attestation-token (or --attestation-plain-http)"
            )
    elif parts.scheme == "https" and ca is None:
        refusal = f"protocol 2 needs --attestation-ca for {url}"
    elif parts.scheme == "https" and secret is None and certificate is None:
        refusal = f"protocol 2 needs --attestation-token or --attestation-cert for {url}"
    return Access(tls, headers, refusal)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(ca: Path) -> ssl.SSLContext:
    try:
        content = ca.read_text("ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=content)
    except OSError as error:
        # ssl.SSLError is one.
        reason = getattr(error, "reason", None) or error.strerror or "not readable"
        raise SettingsError(
            f"--attestation-ca {ca}: expected certificates, PEM ({reason})"
        ) from None
    except ValueError:
        raise SettingsError(f"--attestation-ca {ca}: expected certificates, PEM") from None
    return context


def _add_client_certificate(
    context: ssl.SSLContext | None, certificate: Path | None, key: Path | None
) -> None:
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise SettingsError("--attestation-cert and --attestation-key belong together")
    if context is None:
        raise SettingsError("--attestation-cert is for https, with --attestation-ca")
    for option, path in (("--attestation-cert", certificate), ("--attestation-key", key)):
        try:
            # A pipe would be waited for, and is empty when OpenSSL reads it in its turn.
            os.close(_open_at_once(str(path), os.O_RDONLY))
        except OSError as error:
            raise SettingsError(f"{option} {path}: {error.strerror}") from None
        if not path.is_file():
            raise SettingsError(f"{option} {path}: not a regular file")
    try:
        # An empty password: an encrypted key is an error here, never a prompt.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise SettingsError(
            f"--attestation-cert {certificate}, --attestation-key {key}: expected a PEM certificate"
            f" and its unencrypted PEM key ({error.reason or 'not readable'})"
        ) from None


def _read_token(path: Path) -> str:
    """Messages tell nothing of what stands in the file."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SettingsError(f"--attestation-token {path}: not a regular file")
            if _is_for_others(status):
                raise SettingsError(
                    f"--attestation-token {path}: mode {stat.S_IMODE(status.st_mode):04o}, expected"
                    " 0600: others may read it"
                )
            content = file.read(_MOST_TOKEN_FILE_BYTES).strip()
    except OSError as error:
        raise SettingsError(f"--attestation-token {path}: {error.strerror}") from None
    if not _TOKEN.fullmatch(content):
        raise SettingsError(
            f"--attestation-token {path}: expected one line of 16 to 512 letters, digits and ._~+/-"
        )
    return content.decode()


def _is_for_others(status: os.stat_result) -> bool:
    """root may let a group read: that is how Kubernetes and systemd hand secrets to a program that
    is not root (as PostgreSQL has it for its keys)."""
    is_from_root = status.st_uid == 0 != os.geteuid()
    return bool(status.st_mode & (_FOR_OTHERS_OF_ROOT if is_from_root else _FOR_OTHERS))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
