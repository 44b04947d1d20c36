"""Names of what a registry holds: `oci://REGISTRY[:PORT]/NAME[:TAG|@sha256:DIGEST]`.

Source: OCI Distribution Specification 1.1, "Pulling manifests" (grammar of names and tags);
Image Specification 1.1, "Descriptors" (digests).
"""

import ipaddress
import re
from dataclasses import dataclass

from ota_agent.errors import SettingsError

SCHEME = "oci://"
_EXPECTED = "expected oci://REGISTRY[:PORT]/NAME[:TAG] or oci://REGISTRY[:PORT]/NAME@sha256:HEX"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"oci://(?P<registry>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?)"
    rf"/(?P<name>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST_NAME = 255
# Docker Hub's names: of itself, of its API.
_HUB, _HUB_API = "docker.io", "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """registry: host, with the port if one is given. tag: None with a digest (`sha256:HEX`)."""

    registry: str
    name: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        version = f"@{self.digest}" if self.digest is not None else f":{self.tag}"
        return f"{SCHEME}{self.registry}/{self.name}{version}"

    @property
    def version(self) -> str:
        """Digest or tag, as the API has it."""
        return self.digest or self.tag or ""

    @property
    def authority(self) -> str:
        """Where its API is."""
        return _HUB_API if self.registry == _HUB else self.registry

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine."""
        return is_loopback(host_of(self.registry))


def parse_reference(text: str) -> Reference:
    """Raises SettingsError."""
    found = _REFERENCE.fullmatch(text)
    if found is None or len(found["name"]) > _LONGEST_NAME:
        raise SettingsError(f"firmware {text!r}: {_EXPECTED}")
    registry, name = found["registry"], found["name"]
    port = registry.rpartition("]")[2].partition(":")[2]
    if port and not 0 < int(port) < 65536:
        raise SettingsError(f"firmware {text!r}: port {port}: expected 1 to 65535")
    if registry == _HUB and "/" not in name:
        name = f"library/{name}"
    digest = found["digest"]
    return Reference(registry, name, None if digest else found["tag"] or "latest", digest)


def host_of(authority: str) -> str:
    """Without the port and an address's brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
