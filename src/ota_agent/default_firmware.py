"""Which firmware of several a board of protocol 1 gets, which says neither chip nor application."""

from collections.abc import Iterable
from dataclasses import dataclass

from esp_image import chips
from ota_agent.errors import SettingsError
from ota_agent.firmware import Firmware, plain_chip


@dataclass(frozen=True, slots=True)
class DefaultFirmware:
    """project: as the app descriptor has it. chip: as esptool spells it; None: the only chip there
    is firmware of that project for."""

    project: str
    chip: str | None = None

    def __str__(self) -> str:
        return self.project if self.chip is None else f"{self.project}@{self.chip}"

    def choose(self, served: Iterable[Firmware]) -> tuple[Firmware | None, str]:
        """The one of these, or None and why."""
        found = [each for each in served if each.project == self.project]
        if self.chip is not None:
            found = [each for each in found if each.chip == self.chip]
        if len(found) == 1:
            return found[0], ""
        if found:
            names = ", ".join(sorted(each.chip for each in found))
            return None, f"the default firmware {self} is there for {names}: name one, {self}@CHIP"
        return None, f"no default firmware {self}"


def parse_default(text: str) -> DefaultFirmware:
    """PROJECT or PROJECT@CHIP. Raises SettingsError."""
    project, at, chip = text.rpartition("@")
    if not at:
        project, chip = text, ""
    if not project or (at and not chip):
        raise SettingsError(f"default firmware {text!r}: expected PROJECT or PROJECT@CHIP")
    if not at:
        return DefaultFirmware(project)
    name = plain_chip(chip)
    if name not in chips.CHIPS:
        known = ", ".join(sorted(chips.CHIPS))
        raise SettingsError(f"default firmware {text!r}: no such chip; expected one of {known}")
    return DefaultFirmware(project, name)
