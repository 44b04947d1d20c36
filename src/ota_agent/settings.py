"""The agent's settings: from the command line, else from the originals' environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from ota_agent.errors import SettingsError

# (what it is, option, variable of the originals)
_REQUIRED = (
    ("firmware", "--firmware", "NEW_FIRMWARE_PATH"),
    ("certificate", "--cert", "SERVER_CRT_PATH"),
    ("key", "--key", "SERVER_KEY_PATH"),
    ("attestation server", "--dice-auth-url", "DICE_AUTH_URL"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """firmware, certificate, key: files; the two last PEM, the certificate with its chain.
    dice_auth_url: where certificates are POSTed.
    host, port: where boards connect; port 0 takes a free one.

    Limits, in seconds: for the TLS handshake, for the whole certificate to arrive, for the
    attestation server's verdict, for one moment without progress while firmware is sent, for a
    board to close after the last byte, for running transfers to finish at shutdown.
    max_connections: boards served at once; further ones are closed at once.

    Raises SettingsError for values that cannot be.
    """

    firmware: Path
    certificate: Path
    key: Path
    dice_auth_url: str
    host: str = "0.0.0.0"
    port: int = 4433
    handshake_timeout_s: float = 20.0
    certificate_timeout_s: float = 10.0
    attestation_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    closing_timeout_s: float = 5.0
    shutdown_deadline_s: float = 30.0
    max_connections: int = 5000

    def __post_init__(self) -> None:
        try:
            url = urlsplit(self.dice_auth_url)
            valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise SettingsError(
                f"attestation server {self.dice_auth_url!r}: expected http://HOST[:PORT][/PATH]"
            )
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port {self.port}: expected 0 to 65535")
        for field in fields(self):
            if field.name.endswith("_s") and not getattr(self, field.name) > 0:
                raise SettingsError(f"{field.name}: expected more than 0 seconds")
        if self.max_connections < 1:
            raise SettingsError(f"max_connections {self.max_connections}: expected 1 or more")


def from_environment(
    *,
    firmware: str | Path | None = None,
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    dice_auth_url: str | None = None,
    host: str = "0.0.0.0",
    port: int = 4433,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from what the command line gave; what is None comes from NEW_FIRMWARE_PATH,
    SERVER_CRT_PATH, SERVER_KEY_PATH, DICE_AUTH_URL.

    A URL without a scheme is taken as http, as the originals' client does. Raises one
    SettingsError that names everything missing, each with its option and variable.
    """
    variables = os.environ if environment is None else environment
    found = []
    missing = []
    for (name, option, variable), given in zip(
        _REQUIRED, (firmware, certificate, key, dice_auth_url), strict=True
    ):
        value = str(given) if given is not None else variables.get(variable, "")
        found.append(value)
        if not value:
            missing.append(f"no {name}: give {option} or set {variable}")
    if missing:
        raise SettingsError("; ".join(missing))
    url = found[3]
    return Settings(
        firmware=Path(found[0]),
        certificate=Path(found[1]),
        key=Path(found[2]),
        dice_auth_url=url if "://" in url else "http://" + url,
        host=host,
        port=port,
    )
