"""The firmware file on disk, and the copy of it that is served.

A new file is taken up when a board is about to be served, or within a second. One that is no valid
firmware (or not yet, because it is still being written) changes nothing: it is logged once, and
the copy there is goes on being served.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ota_agent.errors import FirmwareError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.firmware import Firmware, Trust, load_firmware
from ota_agent.offer import Offer
from ota_agent.structured_log import log_event


class FirmwareFile:
    """Loads the file at once. Raises FirmwareError."""

    def __init__(self, path: Path, trust: Trust) -> None:
        self._path = path
        self._trust = trust
        stamp = stamp_of(path)
        self._seen: Stamp | None = stamp if is_settled(stamp) else None
        self._firmware = load_firmware(path, trust)
        self._offer = Offer((self._firmware,), self._firmware)
        self._reloading: asyncio.Task[None] | None = None
        self._takers: list[Callable[[Offer], None]] = []
        self._complaint = ""

    @property
    def offer(self) -> Offer:
        """The copy there is, for whoever it is for."""
        return self._offer

    @property
    def served(self) -> Sequence[Firmware]:
        """The copy there is, alone."""
        return self._offer.served

    def when_current(self, take: Callable[[Offer], None]) -> None:
        """Call take with what the file holds now, or the last that was valid: at once if the
        file has not changed, else when it has been loaded."""
        if self._seen == stamp_of(self._path):
            take(self._offer)
            return
        self._takers.append(take)
        if self._reloading is None:
            self._reloading = asyncio.create_task(self._reload())

    def refresh(self) -> None:
        """Load the file if it has changed."""
        self.when_current(lambda offer: None)

    async def _reload(self) -> None:
        stamp = stamp_of(self._path)
        # Before the load, which may take longer than a tick is remembered.
        settled = is_settled(stamp)
        try:
            firmware = await asyncio.to_thread(load_firmware, self._path, self._trust)
        except FirmwareError as error:
            self._complain(str(error))
        except MemoryError:
            self._complain(f"firmware {self._path}: out of memory")
        else:
            self._complaint = ""
            if firmware.sha256 != self._firmware.sha256:
                self._firmware = firmware
                self._offer = Offer((firmware,), firmware)
                log_firmware("firmware-loaded", firmware)
        finally:
            self._seen = stamp if settled and stamp == stamp_of(self._path) else None
            self._reloading = None
            takers, self._takers = self._takers, []
            for take in takers:
                take(self._offer)

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            still = self._firmware.name
            log_event("firmware-not-loaded", level=logging.ERROR, reason=reason, still=still)


def log_firmware(event: str, firmware: Firmware, **more: object) -> None:
    """One line that says what is served."""
    fields: dict[str, Any] = {
        **more,
        "chip": firmware.chip,
        "project": firmware.project,
        "version": firmware.version,
        "bytes": len(firmware.image),
        "sha256": firmware.sha256,
        "signer": firmware.signer,
    }
    log_event(event, **fields)
