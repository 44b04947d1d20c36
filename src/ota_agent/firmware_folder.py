"""A folder of firmware, the catalogue: which of it is served now.

A change is taken up within a second; when a board is about to be served, files that were put
there, renamed or removed are taken up first. What cannot be served is told once for each change
and left out; a folder that cannot be read changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ota_agent.default_firmware import DefaultFirmware
from ota_agent.errors import FirmwareError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.firmware import Firmware, Trust
from ota_agent.firmware_file import log_firmware
from ota_agent.offer import Offer
from ota_agent.shelf import News, Shelf
from ota_agent.structured_log import log_event

_NO_DEFAULT = "no firmware for protocol 1 without --default-firmware"
# Names in one line.
_MOST_NAMES = 10
# A folder that changes while it is looked at is looked at again before a board is served.
_ATTEMPTS = 3


class FirmwareFolder:
    """Reads the folder at once. default: for boards of protocol 1; None: they get nothing, which
    is told if serves_protocol_1. named_by_digest: as of `Shelf`. Raises FirmwareError where the
    folder cannot be read; what is wrong with single files is told."""

    def __init__(
        self,
        folder: Path,
        trust: Trust,
        default: DefaultFirmware | None = None,
        *,
        serves_protocol_1: bool = True,
        named_by_digest: bool = False,
    ) -> None:
        self._folder = folder
        self._default = default
        self._serves_protocol_1 = serves_protocol_1
        self._shelf = Shelf(folder, trust, named_by_digest=named_by_digest)
        self._complaint = ""
        self._told: str | None = None
        self._looking: asyncio.Task[None] | None = None
        self._takers: list[Callable[[Offer], None]] = []
        stamp = stamp_of(folder)
        settled = is_settled(stamp)
        self._is_empty = False
        self._offer = self._take_up(self._shelf.look())
        self._seen: Stamp | None = stamp if settled and stamp == stamp_of(folder) else None

    @property
    def offer(self) -> Offer:
        """What there is."""
        return self._offer

    @property
    def served(self) -> Sequence[Firmware]:
        """The same, by chip and application."""
        return self._offer.served

    def when_current(self, take: Callable[[Offer], None]) -> None:
        """Call take with what is served now: at once if no file has come, gone or been renamed,
        else when that has been read."""
        if self._seen == stamp_of(self._folder):
            take(self._offer)
        else:
            self._look(take)

    def refresh(self) -> None:
        """Look at every file."""
        self._look(lambda offer: None)

    def _look(self, take: Callable[[Offer], None]) -> None:
        self._takers.append(take)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        try:
            for _ in range(_ATTEMPTS):
                stamp = stamp_of(self._folder)
                # Before the look, which may take longer than a tick is remembered.
                settled = is_settled(stamp)
                await self._look_once()
                is_same = stamp == stamp_of(self._folder)
                self._seen = stamp if settled and is_same else None
                if is_same:
                    break
        finally:
            self._looking = None
            takers, self._takers = self._takers, []
            for take in takers:
                take(self._offer)

    async def _look_once(self) -> None:
        try:
            news = await asyncio.to_thread(self._shelf.look)
        except (FirmwareError, MemoryError) as error:
            reason = str(error) or f"firmware {self._folder}: out of memory"
            if reason != self._complaint:
                self._complaint = reason
                _complain(reason, "all that was served")
        else:
            self._complaint = ""
            self._offer = self._take_up(news)

    def _take_up(self, news: News) -> Offer:
        """Tell the news, and make an offer of what is served."""
        for firmware in news.loaded:
            log_firmware("firmware-loaded", firmware)
        for firmware in news.withdrawn:
            log_firmware("firmware-withdrawn", firmware)
        for reason, still in news.complaints:
            _complain(reason, still)
        if news.ignored:
            names, count = news.ignored[:_MOST_NAMES], len(news.ignored)
            log_event("firmware-ignored", folder=str(self._folder), count=count, names=names)
        served = self._shelf.served.values()
        if not served and not self._is_empty:
            log_event("no-firmware", level=logging.WARNING, folder=str(self._folder))
        self._is_empty = not served
        default, no_default = None, _NO_DEFAULT
        if self._default is not None:
            default, no_default = self._default.choose(served)
        if self._serves_protocol_1 and no_default and no_default != self._told:
            log_event("no-default-firmware", level=logging.WARNING, reason=no_default)
        self._told = no_default
        return Offer(served, default, no_default)


def _complain(reason: str, still: str | None) -> None:
    log_event("firmware-not-loaded", level=logging.ERROR, reason=reason, still=still)
