"""The firmware to be served, as the settings name it: a file, a folder, what a registry holds."""

from pathlib import Path
from typing import TYPE_CHECKING

from ota_agent.errors import SettingsError
from ota_agent.firmware_file import FirmwareFile
from ota_agent.firmware_folder import FirmwareFolder
from ota_agent.oci_reference import Reference
from ota_agent.offer import FirmwareSource
from ota_agent.settings import Settings
from ota_agent.shelf import is_folder

if TYPE_CHECKING:
    from ota_agent.oci_puller import Puller

_MORE_IMAGES = 64


def puller_for(settings: Settings) -> "Puller | None":
    """Who keeps on disk what a registry holds, if that is what is served. Raises SettingsError."""
    if not isinstance(settings.firmware, Reference):
        return None
    # An agent without a registry starts without httpx, in half the time.
    from ota_agent.oci_puller import Puller
    from ota_agent.oci_registry import registry_access

    if settings.cache is None:
        raise SettingsError(f"{settings.firmware}: no folder to keep it in: cache is None")
    access = registry_access(
        settings.oci_ca, settings.oci_config, plain_http=settings.oci_plain_http
    )
    return Puller(
        settings.firmware, settings.cache, access, settings.oci_interval_s, settings.trust
    )


def open_firmware(settings: Settings, puller: "Puller | None" = None) -> FirmwareSource:
    """Loaded. puller: of these settings, filled. Raises FirmwareError, SettingsError."""
    if puller is not None:
        return _folder(settings, puller.folder, named_by_digest=True)
    path = settings.firmware
    if isinstance(path, Reference):
        raise ValueError("a reference, and no puller")
    if is_folder(path):
        return _folder(settings, path)
    if settings.default_firmware is not None:
        raise SettingsError(
            f"--default-firmware {settings.default_firmware}: {path} is one file, which every"
            " board gets that it fits; expected a folder"
        )
    return FirmwareFile(path, settings.trust)


def _folder(settings: Settings, path: Path, *, named_by_digest: bool = False) -> FirmwareFolder:
    return FirmwareFolder(
        path,
        settings.trust,
        settings.default_firmware,
        serves_protocol_1=not settings.require_attestation,
        named_by_digest=named_by_digest,
    )


def descriptors(source: FirmwareSource) -> int:
    """How many copies in memory may cost one each: while a copy is replaced there are two, and a
    catalogue may grow."""
    more = 0 if isinstance(source, FirmwareFile) else _MORE_IMAGES
    return 2 * len(source.served) + more
