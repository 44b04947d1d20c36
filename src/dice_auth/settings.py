"""What the server is told about protocol 2 and the admin API, and the files it is told it in:
policy, tokens, its certificate. They are read again when they change (`reloaded`)."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

from dice_auth.admin_tokens import AdminTokens, read_admin_tokens
from dice_auth.agent_access import AgentAccess, Tokens, is_loopback, read_tokens
from dice_auth.errors import PolicyError, SettingsError
from dice_auth.policy import DEFAULT_POLICY, Policy, parse_policy
from dice_auth.reloaded import LOOK_EVERY_S, Reloaded
from dice_auth.tls_context import load_certificate, server_context

DEFAULT_ADMIN_RATE = 50.0
_MOST_POLICY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """policy: TOML. agent_tokens: see `agent_access.read_tokens`. certificate, key: PEM; both or
    none. client_ca: PEM, with these. plain_http: agents and operators may ask without TLS from
    elsewhere. admin_tokens: see `admin_tokens`; None: no admin API. admin_rate: requests a second
    of each such token."""

    policy: Path | None = None
    agent_tokens: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    plain_http: bool = False
    admin_tokens: Path | None = None
    admin_rate: float = DEFAULT_ADMIN_RATE


class SettingsInUse:
    """What stands in the files of settings now. tls: the context, None for HTTP.

    Raises SettingsError or PolicyError, one line that names the file.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.tls: ssl.SSLContext | None = None
        self._policy: Reloaded[Policy] | None = None
        self._tokens: Reloaded[Tokens] | None = None
        self._admin_tokens: Reloaded[AdminTokens] | None = None
        self._certificate: Reloaded[bytes] | None = None
        certificate, key, policy, tokens = (
            settings.certificate, settings.key, settings.policy, settings.agent_tokens,
        )  # fmt: skip
        if certificate is not None and key is not None:
            self.tls = server_context(certificate, key, settings.client_ca)
            self._certificate = Reloaded(self._load_certificate, certificate, key)
        elif certificate is not None or key is not None:
            raise SettingsError("--cert and --key belong together")
        elif settings.client_ca is not None:
            raise SettingsError("--client-ca needs --cert and --key")
        if policy is not None:
            self._policy = Reloaded(lambda: read_policy(policy), policy)
        if tokens is not None:
            read_tokens(tokens)
            # From then on: who takes the last token out of the file, or the file away, means it.
            self._tokens = Reloaded(lambda: read_tokens(tokens, may_be_none=True), tokens)

        if (admins := settings.admin_tokens) is not None:
            read_admin_tokens(admins)
            self._admin_tokens = Reloaded(
                lambda: read_admin_tokens(admins, may_be_none=True), admins
            )

    def policy(self) -> Policy:
        return DEFAULT_POLICY if self._policy is None else self._policy.value

    def access(self, host: str) -> AgentAccess:
        """Of a server that listens on this address."""
        tokens = self._tokens
        return AgentAccess(
            None if tokens is None else lambda: tokens.value,
            client_certificates=self._settings.client_ca is not None,
            closed=self.closed(host),
        )

    @property
    def has_admin_api(self) -> bool:
        return self._admin_tokens is not None

    @property
    def admin_rate(self) -> float:
        return self._settings.admin_rate

    def admin_tokens(self) -> AdminTokens:
        return () if self._admin_tokens is None else self._admin_tokens.value

    def admin_closed(self, host: str) -> str:
        """Why a server that listens on this address has no admin API, empty if it has."""
        if is_loopback(host) or self.tls is not None or self._settings.plain_http:
            return ""
        return "the admin API needs HTTPS, --cert and --key (or --plain-http), but on loopback"

    def closed(self, host: str) -> str:
        """Why a server that listens on this address serves no agent, empty if it does."""
        if is_loopback(host):
            return ""
        if self.tls is None and not self._settings.plain_http:
            return "protocol 2 needs HTTPS, --cert and --key (or --plain-http), but on loopback"
        if self._tokens is None and self._settings.client_ca is None:
            return "protocol 2 needs --agent-tokens or --client-ca, but on loopback"
        return ""

    def look(self, *, force: bool = False) -> None:
        """Take up what has changed; by force, read everything."""
        for each in (self._policy, self._tokens, self._admin_tokens, self._certificate):
            if each is not None:
                each.look(force=force)

    async def look_regularly(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def _load_certificate(self) -> bytes:
        """The file's content, by which a change is told."""
        certificate, key = self._settings.certificate, self._settings.key
        if self.tls is None or certificate is None or key is None:
            raise ValueError("no certificate to load")
        # First somewhere else: one whose key is not its own would leave neither in use.
        server_context(certificate, key, None)
        load_certificate(self.tls, certificate, key)
        return certificate.read_bytes()


def read_policy(path: Path) -> Policy:
    """Raises PolicyError, one line that names the file and the line of the mistake."""
    content = _read_policy_file(path)
    try:
        return parse_policy(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"--policy {path}: line {line}: not UTF-8") from None
    except PolicyError as error:
        raise PolicyError(f"--policy {path}: {error}") from None


def _read_policy_file(path: Path) -> bytes:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise PolicyError(f"--policy {path}: not a regular file")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_POLICY_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"--policy {path}: {error.strerror}") from None
    if len(content) > _MOST_POLICY_BYTES:
        raise PolicyError(f"--policy {path}: more than {_MOST_POLICY_BYTES} bytes")
    return content
