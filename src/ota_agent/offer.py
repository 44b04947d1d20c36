"""What is served at one moment, and which of it a board gets."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ota_agent.firmware import Firmware, plain_chip


class Offer:
    """served: one firmware for each chip and application; nothing in it changes. default: what
    boards of protocol 1 get; None: nothing, for this reason."""

    def __init__(
        self, served: Iterable[Firmware], default: Firmware | None, no_default: str = ""
    ) -> None:
        self.served: Sequence[Firmware] = tuple(served)
        self.default = default
        self.no_default = no_default
        self._of_chip: dict[str, dict[str, Firmware]] = {}
        for each in self.served:
            self._of_chip.setdefault(plain_chip(each.chip), {})[each.project] = each

    def for_board(self, chip: str, application: str) -> Firmware | None:
        """For what a board says it is. Names of chips may differ in case and hyphens (ESP32-S3,
        esp32s3). A board or a firmware without a name of its application fits any, where there
        is only one for the chip: between several nothing tells."""
        there = self._of_chip.get(plain_chip(chip), {})
        if application in there and application:
            return there[application]
        only = next(iter(there.values())) if len(there) == 1 else None
        if only is not None and "" in (application, only.project):
            return only
        return None


class FirmwareSource(Protocol):
    """Where firmware comes from: a file, or a catalogue."""

    @property
    def offer(self) -> Offer:
        """What there is."""

    @property
    def served(self) -> Sequence[Firmware]:
        """The same, as a list."""

    def when_current(self, take: Callable[[Offer], None]) -> None:
        """Call take with what is there now, at once or as soon as it has been loaded."""

    def refresh(self) -> None:
        """Look whether something has changed."""
