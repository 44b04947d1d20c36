"""Who may ask for challenges and about evidence: OTA agents, known by a bearer token (RFC 6750)
or a client certificate; over HTTPS, or where nobody else is between (protocol.md, C).

Of tokens only the SHA-256 is kept. The compatible endpoint is anybody's, as the originals'.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dice_auth.asgi import Headers, Scope
from dice_auth.errors import SettingsError
from dice_auth.private_file import read_private

Tokens = frozenset[bytes]

# RFC 6750, section 2.1; short ones can be guessed.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]{16,512}=*")


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
    content = read_private("--agent-tokens", path)
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


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
