"""Who may ask for challenges and about evidence: OTA agents, known by a bearer token (RFC 6750)
or a client certificate; over HTTPS, or where nobody else is between (protocol.md, C).

Of tokens only the SHA-256 is kept. The compatible endpoint is anybody's, as the originals'.
"""

import hashlib
import hmac
import ipaddress
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dice_auth.asgi import Headers, Scope
from dice_auth.errors import SettingsError

Tokens = frozenset[bytes]

# RFC 6750, section 2.1; short ones can be guessed.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]{16,512}=*")
_MOST_FILE_BYTES = 64 * 1024
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOR_OTHERS_OF_ROOT = _FOR_OTHERS & ~stat.S_IRGRP


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to somebody who may not ask."""

    status: int
    detail: str
    headers: Headers = ()


class AgentAccess:
    """tokens: SHA-256 of those that count now; None: there are none. client_certificates: whether
    one that TLS has verified counts. closed: why nobody may ask, empty if agents may."""

    def __init__(
        self,
        tokens: Callable[[], Tokens] | None = None,
        *,
        client_certificates: bool = False,
        closed: str = "",
    ) -> None:
        self._tokens = tokens
        self._client_certificates = client_certificates
        self._closed = Refusal(403, closed) if closed else None

    def refusal(self, scope: Scope) -> Refusal | None:
        """None if whoever sends this request may."""
        if self._closed is not None:
            return self._closed
        if self._tokens is None and not self._client_certificates:
            return None
        if self._client_certificates and scope.get("extensions", {}).get("tls"):
            return None
        return self._refusal_of_token(scope)

    def _refusal_of_token(self, scope: Scope) -> Refusal | None:
        expected = " or ".join(
            name
            for name, counts in (
                ("a bearer token", self._tokens is not None),
                ("a client certificate", self._client_certificates),
            )
            if counts
        )
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if self._tokens is None or not given:
            return Refusal(401, f"agents show {expected}", _challenge(b""))
        kind, _, token = given[0].partition(b" ")
        if len(given) == 1 and kind.lower() == b"bearer" and _is_among(token, self._tokens()):
            return None
        return Refusal(401, "the bearer token is not one of an agent", _challenge(_INVALID))


_INVALID = b', error="invalid_token"'


def _challenge(error: bytes) -> Headers:
    return ((b"WWW-Authenticate", b'Bearer realm="dice-auth"' + error),)


def _is_among(token: bytes, tokens: Tokens) -> bool:
    """In a time that tells nothing of the tokens."""
    found = hashlib.sha256(token.strip()).digest()
    matches = [hmac.compare_digest(found, each) for each in tokens]
    return any(matches)


def read_tokens(path: Path, *, may_be_none: bool = False) -> Tokens:
    """SHA-256 of the tokens in a file, one a line, that only its owner may read.

    `#` begins a comment line. may_be_none: a file without a token, or none at all, is not a
    mistake: then nobody has one. Raises SettingsError, whose text tells nothing of a token.
    """
    if may_be_none and not path.exists():
        return frozenset()
    content = _read_private(path)
    tokens = set()
    for number, line in enumerate(content.splitlines(), 1):
        token = line.strip()
        if not token or token.startswith(b"#"):
            continue
        if not _TOKEN.fullmatch(token):
            raise SettingsError(
                f"--agent-tokens {path}: line {number}: expected a token of 16 to 512 letters,"
                " digits and ._~+/-"
            )
        tokens.add(hashlib.sha256(token).digest())
    if not tokens and not may_be_none:
        raise SettingsError(f"--agent-tokens {path}: no token, expected one a line")
    return frozenset(tokens)


def _read_private(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SettingsError(f"--agent-tokens {path}: not a regular file")
            if _is_for_others(status):
                raise SettingsError(
                    f"--agent-tokens {path}: mode {stat.S_IMODE(status.st_mode):04o}, expected"
                    " 0600: others may read it"
                )
            content = file.read(_MOST_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"--agent-tokens {path}: {error.strerror}") from None
    if len(content) > _MOST_FILE_BYTES:
        raise SettingsError(f"--agent-tokens {path}: more than {_MOST_FILE_BYTES} bytes")
    return content


def _is_for_others(status: os.stat_result) -> bool:
    """root may let a group read: that is how Kubernetes and systemd hand secrets to a program that
    is not root (as PostgreSQL has it for its keys)."""
    is_from_root = status.st_uid == 0 != os.geteuid()
    return bool(status.st_mode & (_FOR_OTHERS_OF_ROOT if is_from_root else _FOR_OTHERS))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
