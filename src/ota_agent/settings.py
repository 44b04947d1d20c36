"""The agent's settings: from the command line, else from the originals' environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ota_agent.default_firmware import DefaultFirmware
from ota_agent.errors import SettingsError
from ota_agent.firmware import Trust
from ota_agent.oci_reference import SCHEME, Reference, parse_reference

# (field, what it is, option, variable of the originals)
_REQUIRED = (
    ("firmware", "firmware", "--firmware", "NEW_FIRMWARE_PATH"),
    ("certificate", "certificate", "--cert", "SERVER_CRT_PATH"),
    ("key", "key", "--key", "SERVER_KEY_PATH"),
    ("dice_auth_url", "attestation server", "--dice-auth-url", "DICE_AUTH_URL"),
)
# Bytes a second: with fewer a board cannot be told from one that is gone.
LEAST_BANDWIDTH = 1024
LEAST_SEND_BUFFER_BYTES = 4096
# The kernel doubles it, and takes an int of C (socket(7)).
MOST_SEND_BUFFER_BYTES = 1 << 30
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """firmware: a file; or a folder or what a registry holds, a catalogue. default_firmware: what
    boards of protocol 1 get of a catalogue. cache: folder for firmware from a registry, which is
    looked at every oci_interval_s; oci_ca, oci_config, oci_plain_http: how (`oci_registry`).
    certificate, key: PEM files, the certificate with its chain.
    dice_auth_url: where certificates are POSTed. trust: whose firmware is served.
    host, port: where boards connect; port 0 takes a free one. workers: processes that serve them,
    1 to 64. admin: host and port where people and programs ask about the agent; None: nowhere.
    is_admin_optional: where that address cannot be had, boards are served without it.

    Seconds: for the TLS handshake, for the whole certificate to arrive, for the attestation
    server's verdict, for a board to take anything at all while firmware is sent, for it to close
    after the last byte, for running transfers to finish at shutdown.
    least_bytes_per_s: a board slower than this over idle_timeout_s is let go.
    max_connections, max_connections_per_address: at once; further ones are closed at once, as
    are those of an address that come faster than accept_rate a second (5 s' worth at once).
    challenge_rate: challenges a second (protocol 2) of one address, 10 s' worth at once.
    bandwidth, board_bandwidth: bytes a second in all and per board, at least 1,024; None: no limit.
    send_buffer_bytes: the kernel's buffer per board (SO_SNDBUF); None leaves it to the kernel.
    require_attestation: protocol 1 is refused. attestation_ca, attestation_token,
    attestation_certificate, attestation_key, attestation_plain_http: how challenges and evidence
    are asked about (`attestation_access`).

    Raises SettingsError for values that cannot be.
    """

    firmware: Path | Reference
    certificate: Path
    key: Path
    dice_auth_url: str
    default_firmware: DefaultFirmware | None = None
    cache: Path | None = None
    oci_interval_s: float = 60.0
    oci_ca: Path | None = None
    oci_config: Path | None = None
    oci_plain_http: bool = False
    trust: Trust = field(default_factory=Trust)
    host: str = "0.0.0.0"
    port: int = 4433
    workers: int = 1
    admin: tuple[str, int] | None = None
    is_admin_optional: bool = False
    handshake_timeout_s: float = 20.0
    certificate_timeout_s: float = 10.0
    attestation_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    closing_timeout_s: float = 5.0
    shutdown_deadline_s: float = 30.0
    least_bytes_per_s: float = 512.0
    max_connections: int = 12_000
    max_connections_per_address: int = 6_000
    accept_rate: float = 2_000.0
    challenge_rate: float = 100.0
    bandwidth: int | None = None
    board_bandwidth: int | None = None
    send_buffer_bytes: int | None = None
    require_attestation: bool = False
    attestation_ca: Path | None = None
    attestation_token: Path | None = None
    attestation_certificate: Path | None = None
    attestation_key: Path | None = None
    attestation_plain_http: bool = False

    def __post_init__(self) -> None:
        _check_url(self.dice_auth_url)
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port {self.port}: expected 0 to 65535")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise SettingsError(f"workers {self.workers}: expected 1 to {MOST_WORKERS}")
        if self.admin is not None and not 0 <= self.admin[1] <= 65535:
            raise SettingsError(f"admin port {self.admin[1]}: expected 0 to 65535")
        for each in fields(self):
            if each.name.endswith("_s") and each.name != "least_bytes_per_s":
                self._check_least(each.name, 0, "more than 0 seconds", exclusive=True)
        self._check_least("least_bytes_per_s", 0, "0 or more")
        self._check_least("max_connections", 1, "1 or more")
        self._check_least("max_connections_per_address", 1, "1 or more")
        self._check_least("accept_rate", 1, "1 or more")
        self._check_least("challenge_rate", 1, "1 or more")
        least, most = LEAST_SEND_BUFFER_BYTES, MOST_SEND_BUFFER_BYTES
        self._check_least("send_buffer_bytes", least, f"{least} to {most}")
        if self.send_buffer_bytes is not None and self.send_buffer_bytes > most:
            raise SettingsError(
                f"send_buffer_bytes {self.send_buffer_bytes}: expected {least} to {most}"
            )
        for name in ("bandwidth", "board_bandwidth"):
            self._check_least(name, LEAST_BANDWIDTH, f"{LEAST_BANDWIDTH} bytes a second or more")

    def _check_least(
        self, name: str, least: float, expected: str, *, exclusive: bool = False
    ) -> None:
        value = getattr(self, name)
        if value is None or value > least or (value == least and not exclusive):
            return
        raise SettingsError(f"{name} {value:g}: expected {expected}")


def _check_url(text: str) -> None:
    try:
        url = urlsplit(text)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        valid = valid and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(f"attestation server {text!r}: expected http://HOST[:PORT][/PATH]")


def from_environment(*, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from what the command line gave, by the names of Settings; of these, what is
    missing or None comes from NEW_FIRMWARE_PATH, SERVER_CRT_PATH, SERVER_KEY_PATH, DICE_AUTH_URL.

    A URL without a scheme is taken as http, as the originals' client does. Raises one
    SettingsError that names everything missing, each with its option and variable.
    """
    variables = os.environ if environment is None else environment
    missing = []
    for key, name, option, variable in _REQUIRED:
        if given.get(key) is None:
            given[key] = variables.get(variable, "")
        if not str(given[key]):
            missing.append(f"no {name}: give {option} or set {variable}")
    if missing:
        raise SettingsError("; ".join(missing))
    for key in ("certificate", "key"):
        given[key] = Path(given[key])
    _find_firmware(given, variables)
    if "://" not in given["dice_auth_url"]:
        given["dice_auth_url"] = "http://" + given["dice_auth_url"]
    return Settings(**given)


def _find_firmware(given: dict[str, Any], variables: Mapping[str, str]) -> None:
    """Where it is, and for a registry's: where it is kept, and docker's credentials."""
    text = str(given["firmware"])
    if given.get("oci_interval_s", 0) is None:
        del given["oci_interval_s"]
    if not text.startswith(SCHEME):
        given["firmware"] = Path(text)
        for name in ("cache", "oci_interval_s", "oci_ca", "oci_config", "oci_plain_http"):
            if given.get(name):
                option = "--" + name.removesuffix("_s").replace("_", "-")
                raise SettingsError(f"{option} is for firmware oci://..., this is {text}")
        return
    given["firmware"] = parse_reference(text)
    if given.get("cache") is None:
        given["cache"] = _cache_folder(variables)
    if given.get("oci_config") is None:
        given["oci_config"] = _docker_config(variables)


def _cache_folder(variables: Mapping[str, str]) -> Path:
    """systemd's for the unit (the first of several), else the user's: XDG Base Directory 0.8."""
    unit = variables.get("CACHE_DIRECTORY", "").partition(":")[0]
    if unit:
        return Path(unit)
    user = variables.get("XDG_CACHE_HOME", "")
    if user.startswith("/"):
        return Path(user) / "ota-service"
    home = variables.get("HOME", "")
    if not home:
        raise SettingsError("no folder for firmware from a registry: give --cache")
    return Path(home) / ".cache" / "ota-service"


def _docker_config(variables: Mapping[str, str]) -> Path | None:
    folder = variables.get("DOCKER_CONFIG", "")
    home = variables.get("HOME", "")
    if not folder and not home:
        return None
    return (Path(folder) if folder else Path(home) / ".docker") / "config.json"
