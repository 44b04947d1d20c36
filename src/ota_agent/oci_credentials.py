"""Credentials for a registry, from the file that `docker login` writes (config.json).

Only those that stand in the file: a credential helper is a program of its own and is not run.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ota_agent.errors import PullError

_MOST_BYTES = 1024 * 1024
# How docker's file names Docker Hub.
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """user, password: empty where there are none. lack: why there are none, for whoever is
    refused."""

    user: str = ""
    password: str = field(default="", repr=False)
    lack: str = "no credentials"

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header, secret; None without credentials."""
        if not self.user:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def read_credentials(config: Path | None, registry: str) -> Credentials:
    """config: the file, read anew at each call; None or a missing one: no credentials.
    Raises PullError for a file that cannot be read."""
    if config is None or not config.exists():
        where = f" ({config} is missing)" if config is not None else ""
        return Credentials(lack=f"no credentials{where}")
    members = _read(config)
    entry = _entry(members.get("auths"), registry)
    if entry is None:
        helpers = members.get("credHelpers")
        is_helped = "credsStore" in members or (isinstance(helpers, dict) and registry in helpers)
        if is_helped:
            return Credentials(lack=f"{config} leaves {registry} to a credential helper")
        return Credentials(lack=f"{config} has no credentials for {registry}")
    return _credentials(entry, config, registry)


def _read(config: Path) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            members = json.loads(file.read(_MOST_BYTES))
    except OSError as error:
        raise PullError(f"registry credentials {config}: {error.strerror}") from None
    except (ValueError, RecursionError):
        # Not the parser's words: they may quote the file.
        raise PullError(f"registry credentials {config}: not JSON") from None
    if not isinstance(members, dict):
        raise PullError(f"registry credentials {config}: expected a JSON object")
    return members


def _entry(auths: object, registry: str) -> dict[str, Any] | None:
    if not isinstance(auths, dict):
        return None
    names = _HUB_KEYS if registry == "docker.io" else (
        registry, f"https://{registry}", f"https://{registry}/", f"http://{registry}",
    )  # fmt: skip
    found = next((auths[name] for name in names if name in auths), None)
    return found if isinstance(found, dict) and found else None


def _credentials(entry: dict[str, Any], config: Path, registry: str) -> Credentials:
    user, password = entry.get("username"), entry.get("password")
    if "auth" in entry:
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, ValueError):
            text = ""
        user, _, password = text.partition(":")
    if not isinstance(user, str) or not isinstance(password, str) or not user:
        raise PullError(f"registry credentials {config}: no user and password for {registry}")
    return Credentials(user, password)
