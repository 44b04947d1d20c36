"""What a registry's manifests say: which platforms there are, and which layers make an image.

Read as strictly as it is needed here: every descriptor has a SHA-256 and a size, and nothing is
larger or more than firmware can be. Whether content is what its descriptor says is checked where
it is fetched (`oci_registry`).
Source: OCI Image Specification 1.1, "Image Index", "Image Manifest", "Image Configuration"; Docker
Image Manifest Version 2, Schema 2, which differs in the names of its types only.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ota_agent.errors import ContentError

# Distribution Specification 1.1: registries take manifests of up to 4 MiB.
MOST_MANIFEST_BYTES = 4 * 1024 * 1024
MOST_CONFIG_BYTES = 1024 * 1024
# An image of 16 MiB and whatever lies beside it.
_MOST_LAYER_BYTES = 64 * 1024 * 1024
_MOST_LAYERS = 64
_MOST_PLATFORMS = 64

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
Compression = Literal["", "gzip", "zstd"]
_LAYER_TYPES: dict[str, Compression] = {
    "application/vnd.oci.image.layer.v1.tar": "",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "",
}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# The originals' label for the file that is the firmware.
_PATH_LABEL = "com.urunc.iot.path"
FIRMWARE_OS = "custom"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """digest: `sha256:` and hex. size: bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Layer:
    content: Descriptor
    compression: Compression


@dataclass(frozen=True, slots=True)
class Manifest:
    """Of one image: layers, the lowest first."""

    config: Descriptor
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return self.config.size + sum(layer.content.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Platform:
    """Of an index: an image for this architecture, `custom/ARCHITECTURE` in docker's words."""

    architecture: str
    manifest: Descriptor


@dataclass(frozen=True, slots=True)
class Config:
    """architecture: None for an image that is not made for the platform `custom`. path: the
    firmware's file, if a label names it."""

    architecture: str | None
    path: str | None


def is_index(content: bytes, media_type: str) -> bool:
    """media_type: as the registry calls it. Raises ContentError for what is neither an index nor
    a manifest."""
    members = _object(content, "manifest")
    kind = members.get("mediaType", media_type)
    if kind in INDEX_TYPES:
        return True
    if kind in MANIFEST_TYPES:
        return False
    raise ContentError(f"manifest of type {_shown(kind)}: expected an image or an image index")


def read_index(content: bytes) -> list[Platform]:
    """The images for platforms `custom/...`. Raises ContentError where there is none."""
    platforms, others = [], []
    for entry in _list(_object(content, "index"), "manifests", "index"):
        platform = entry.get("platform")
        if not isinstance(platform, dict):
            continue
        system, architecture = platform.get("os"), platform.get("architecture")
        if system == FIRMWARE_OS and isinstance(architecture, str):
            manifest = _descriptor(entry, f"platform {_shown(architecture)}", MOST_MANIFEST_BYTES)
            platforms.append(Platform(architecture, manifest))
        else:
            others.append(f"{_shown(system)}/{_shown(architecture)}")
    if not platforms:
        found = ", ".join(others[:5]) or "none"
        raise ContentError(f"no platform {FIRMWARE_OS}/CHIP in the index; it has: {found}")
    if len(platforms) > _MOST_PLATFORMS:
        raise ContentError(f"{len(platforms)} platforms, at most {_MOST_PLATFORMS} allowed")
    return platforms


def read_manifest(content: bytes) -> Manifest:
    """Raises ContentError."""
    members = _object(content, "manifest")
    config = members.get("config")
    if not isinstance(config, dict):
        raise ContentError("manifest without a config")
    layers = tuple(_layers(members))
    if not 0 < len(layers) <= _MOST_LAYERS:
        raise ContentError(f"{len(layers)} layers: expected 1 to {_MOST_LAYERS}")
    return Manifest(_descriptor(config, "config", MOST_CONFIG_BYTES), layers)


def _layers(members: dict[str, Any]) -> Iterator[Layer]:
    for number, entry in enumerate(_list(members, "layers", "manifest")):
        kind = entry.get("mediaType")
        if kind not in _LAYER_TYPES:
            raise ContentError(f"layer of type {_shown(kind)}: expected a tar: plain, gzip or zstd")
        content = _descriptor(entry, f"layer {number}", _MOST_LAYER_BYTES)
        yield Layer(content, _LAYER_TYPES[kind])


def read_config(content: bytes) -> Config:
    """Raises ContentError."""
    members = _object(content, "config")
    architecture = members.get("architecture")
    is_custom = members.get("os") == FIRMWARE_OS and isinstance(architecture, str)
    inner = members.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    path = labels.get(_PATH_LABEL) if isinstance(labels, dict) else None
    return Config(architecture if is_custom else None, path if isinstance(path, str) else None)


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        members = json.loads(content)
    except (ValueError, RecursionError):
        raise ContentError(f"{name}: not JSON") from None
    if not isinstance(members, dict):
        raise ContentError(f"{name}: expected a JSON object")
    return members


def _list(members: dict[str, Any], key: str, name: str) -> list[dict[str, Any]]:
    found = members.get(key)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ContentError(f"{name} without {key}")
    return found


def _descriptor(members: dict[str, Any], name: str, most: int) -> Descriptor:
    digest, size = members.get("digest"), members.get("size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ContentError(f"{name}: digest {_shown(digest)}: expected sha256:HEX")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= most:
        raise ContentError(f"{name}: size {_shown(size)}: expected at most {most}")
    return Descriptor(digest, size)


def _shown(value: object) -> str:
    """What somebody else wrote, short."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text[:80]
