"""The firmware to be served, by what the settings name: a file, or a folder."""

from ota_agent.errors import SettingsError
from ota_agent.firmware_file import FirmwareFile
from ota_agent.firmware_folder import FirmwareFolder
from ota_agent.offer import FirmwareSource
from ota_agent.settings import Settings
from ota_agent.shelf import MOST_FILES, is_folder


def open_firmware(settings: Settings) -> FirmwareSource:
    """Loaded. Raises FirmwareError, SettingsError."""
    if is_folder(settings.firmware):
        return FirmwareFolder(
            settings.firmware,
            settings.trust,
            settings.default_firmware,
            serves_protocol_1=not settings.require_attestation,
        )
    if settings.default_firmware is not None:
        raise SettingsError(
            f"--default-firmware {settings.default_firmware}: {settings.firmware} is one file,"
            " which every board gets that it fits; expected a folder"
        )
    return FirmwareFile(settings.firmware, settings.trust)


def descriptors(source: FirmwareSource) -> int:
    """How many copies in memory may cost one each: while a copy is replaced there are two."""
    return 2 if isinstance(source, FirmwareFile) else MOST_FILES
