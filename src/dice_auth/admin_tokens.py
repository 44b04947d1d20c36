"""Who may use the admin API: bearer tokens (RFC 6750), each with a name and a scope.

The file has what stands for a token, never the token: its SHA-256. That is enough, without a salt
or a slow function, because a token is 32 random bytes (`new_token`): nobody can guess it, so that
nobody can find it from its hash, and no two are equal.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dice_auth.errors import SettingsError
from dice_auth.private_file import read_private

SCOPES = ("read", "write")
_OPTION = "--admin-tokens"
_TOKEN_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LINE = re.compile(r"(\S+)[ \t]+(\S+)[ \t]+sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class AdminToken:
    """name: for the log. scope: one of SCOPES; write includes read. sha256: of the token."""

    name: str
    scope: str
    sha256: bytes

    @property
    def may_write(self) -> bool:
        return self.scope == "write"

    @property
    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.name} {self.scope} sha256:{self.sha256.hex()}"


AdminTokens = tuple[AdminToken, ...]


def new_token(name: str, scope: str) -> tuple[str, AdminToken]:
    """A token, and what stands for it. Raises SettingsError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r:.80}: expected 1 to 64 letters, digits and ._-")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return token, AdminToken(name, scope, _sha256(token.encode()))


def find_token(given: bytes, tokens: Iterable[AdminToken]) -> AdminToken | None:
    """Whose it is, in a time that tells nothing of the tokens."""
    digest = _sha256(given)
    matches = [each for each in tokens if hmac.compare_digest(digest, each.sha256)]
    return matches[0] if matches else None


def read_admin_tokens(path: Path, *, may_be_none: bool = False) -> AdminTokens:
    """The tokens in a file that only its owner may read: a line `NAME SCOPE sha256:HEX` for each.

    `#` begins a comment line. may_be_none: a file without a token, or none at all, is not a
    mistake: then nobody has one. Raises SettingsError, which names the line.
    """
    if may_be_none and not path.exists():
        return ()
    tokens: list[AdminToken] = []
    for number, line in enumerate(read_private(_OPTION, path).splitlines(), 1):
        text = line.decode("utf-8", "replace").strip()
        if text and not text.startswith("#"):
            where = f"{_OPTION} {path}: line {number}"
            tokens.append(_parse(text, where))
            _check_new(tokens, where)
    if not tokens and not may_be_none:
        raise SettingsError(f"{_OPTION} {path}: no token, expected NAME SCOPE sha256:HEX a line")
    return tuple(tokens)


def _parse(text: str, where: str) -> AdminToken:
    """What is wrong is not shown: it may be a token."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise SettingsError(f"{where}: expected NAME SCOPE sha256: and 64 hex digits")
    name, scope, digest = match.groups()
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{where}: a name has 1 to 64 letters, digits and ._-")
    if scope not in SCOPES:
        raise SettingsError(f"{where}: expected the scope read or write")
    return AdminToken(name, scope, bytes.fromhex(digest))


def _check_new(tokens: list[AdminToken], where: str) -> None:
    *before, new = tokens
    for each in before:
        if each.name == new.name:
            raise SettingsError(f"{where}: the name {new.name} is there twice")
        if each.sha256 == new.sha256:
            raise SettingsError(f"{where}: the same token as {each.name}")


def _sha256(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
