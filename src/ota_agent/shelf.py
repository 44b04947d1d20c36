"""The files of a catalogue's folder, and copies of those that are served.

Each file is read once for each change; of most only what it holds is remembered, the copies in
memory are those that are served. Blocks while it reads: `firmware_folder` calls it in a thread.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ota_agent import catalogue
from ota_agent.catalogue import Listed, Slot, listed
from ota_agent.errors import FirmwareError
from ota_agent.file_stamp import Stamp, is_settled, stamp_of
from ota_agent.firmware import Firmware, Trust, load_firmware

# Each is looked at every second, and costs a descriptor while it is served.
MOST_FILES = 1_000
# A bad file that has changed since may be one that is still being written: it is not told yet.
_QUIET_S = 1.0
# A folder that changes while it is read is read again.
_ATTEMPTS = 3
_SUFFIX = ".bin"
# What may be well at the next look though the file has not changed.
_PASSING = frozenset({"not-copied", "unreadable"})


@dataclass(slots=True)
class _File:
    """stamp: as it was read; None if it may have changed since. since: when that stamp was first
    seen (monotonic). image: what it holds, or, if that is bad (complaint), held and is served
    still. is_passing: the complaint may be one of the machine and not of the file."""

    stamp: Stamp | None
    seen: Stamp
    since: float
    image: Listed | None = None
    complaint: str = ""
    told: str = ""
    is_passing: bool = False


@dataclass(slots=True)
class News:
    """What a look has found. loaded: served from now on. withdrawn: no longer. complaints: why a
    file is left out, and what is served of it still, each told once. ignored: names of what is no
    image by its name."""

    loaded: list[Firmware] = field(default_factory=list)
    withdrawn: list[Firmware] = field(default_factory=list)
    complaints: list[tuple[str, str | None]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class Shelf:
    """named_by_digest: a file's name ends in its SHA-256 (hex), and it must be that.

    served: the copies, by chip and application.
    """

    def __init__(self, folder: Path, trust: Trust, *, named_by_digest: bool = False) -> None:
        self._folder = folder
        self._trust = trust
        self._named_by_digest = named_by_digest
        self._files: dict[str, _File] = {}
        self._ignored: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._is_chosen = False
        self.served: dict[Slot, Firmware] = {}

    def look(self) -> News:
        """Take up what has changed. Raises FirmwareError, and changes nothing, where the folder
        cannot be read, or holds more than MOST_FILES images."""
        news = News()
        for attempt in range(_ATTEMPTS):
            stamp = stamp_of(self._folder)
            names = self._names(news)
            fresh = self._read(names)
            is_last = attempt == _ATTEMPTS - 1
            if (stamp == stamp_of(self._folder) or is_last) and self._serve(fresh, news, is_last):
                break
        self._complain(news)
        return news

    # Reading

    def _names(self, news: News) -> list[str]:
        """Of the images."""
        names, others = [], set()
        try:
            # The folder may be a link that is set to another one: its files are of one of them.
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.name.endswith(_SUFFIX):
                        names.append(entry.name)
                    else:
                        others.add(entry.name)
        except OSError as error:
            raise FirmwareError(
                "unreadable", f"firmware {self._folder}: {error.strerror}"
            ) from error
        if len(names) > MOST_FILES:
            text = f"{len(names)} files, at most {MOST_FILES} are looked at"
            raise FirmwareError("too-many", f"firmware {self._folder}: {text}")
        news.ignored += sorted(others - self._ignored)
        self._ignored = others
        return sorted(names)

    def _read(self, names: Sequence[str]) -> dict[Slot, Firmware]:
        """Read the files that have changed; copies of the highest versions among them."""
        for gone in self._files.keys() - set(names):
            del self._files[gone]
            self._is_chosen = False
        fresh: dict[Slot, tuple[Listed, Firmware]] = {}
        for name in names:
            firmware = self._read_file(name)
            image = self._files[name].image if name in self._files else None
            if firmware is not None and image is not None:
                best = fresh.get(image.slot)
                if best is None or catalogue.is_higher(image, best[0]):
                    fresh[image.slot] = image, firmware
        return {slot: firmware for slot, (_, firmware) in fresh.items()}

    def _read_file(self, name: str) -> Firmware | None:
        """A copy of the image if the file has changed and is good."""
        path = self._folder / name
        stamp, before = stamp_of(path), self._files.get(name)
        if before is not None and before.stamp == stamp:
            return None
        self._is_chosen = False
        is_new = before is None or before.seen != stamp
        file = _File(None, stamp, time.monotonic() if is_new or before is None else before.since)
        # Before the load, which may take longer than a tick is remembered.
        settled = is_settled(stamp)
        firmware = self._load(name, file)
        if firmware is None:
            if not os.path.lexists(path):
                self._files.pop(name, None)
                return None
            if before is not None and not is_new and file.is_passing:
                # What it holds is known, and whether it can be copied turns out when it must be.
                return None
            if before is not None:
                file.told = before.told
                held = before.image
                file.image = held if held is not None and self._is_served(held) else None
        if settled and not file.is_passing and stamp == stamp_of(path):
            file.stamp = stamp
        self._files[name] = file
        return firmware

    def _load(self, name: str, file: _File) -> Firmware | None:
        """Fill in what it holds, or why that is bad."""
        path = self._folder / name
        try:
            firmware = load_firmware(path, self._trust)
            self._check_name(path, firmware)
            file.image = listed(name, firmware)
        except FirmwareError as error:
            file.complaint, file.is_passing = str(error), error.code in _PASSING
        except MemoryError:
            file.complaint, file.is_passing = f"firmware {path}: out of memory", True
        else:
            return firmware
        return None

    def _check_name(self, path: Path, firmware: Firmware) -> None:
        if self._named_by_digest and not path.stem.endswith(firmware.sha256):
            text = "not what its name says it is (SHA-256)"
            raise FirmwareError("digest-mismatch", f"firmware {path}: {text}")

    # Serving

    def _is_served(self, image: Listed) -> bool:
        served = self.served.get(image.slot)
        return served is not None and served.sha256 == image.sha256

    def _candidates(self) -> Iterator[Listed]:
        for file in self._files.values():
            # What a bad file held is there only as the copy that is served.
            if file.image is not None and (not file.complaint or self._is_served(file.image)):
                yield file.image

    def _serve(self, fresh: dict[Slot, Firmware], news: News, is_last: bool) -> bool:
        """Serve what is chosen now. False, and nothing is changed, where a file that is needed
        has changed meanwhile; if is_last, what was served instead of it is until the next look."""
        if self._is_chosen:
            return True
        digests = {firmware.sha256 for firmware in self.served.values()}
        chosen, left_out = catalogue.choose(self._candidates(), digests)
        served: dict[Slot, Firmware] = {}
        self._is_chosen = True
        for image in chosen:
            firmware = self._copy_of(image, fresh)
            if firmware is None:
                self._is_chosen = False
                if not is_last:
                    return False
                firmware = self.served.get(image.slot)
            if firmware is not None:
                served[image.slot] = firmware
        before, self.served = self.served, served
        news.loaded += [new for slot, new in served.items() if before.get(slot) is not new]
        news.withdrawn += [old for slot, old in before.items() if slot not in served]
        self._left_out, told = left_out, self._left_out
        for file, reason in left_out.items():
            if told.get(file) != reason:
                news.complaints.append((f"firmware {self._folder / file}: {reason}", None))
        return True

    def _copy_of(self, image: Listed, fresh: dict[Slot, Firmware]) -> Firmware | None:
        for there in (self.served.get(image.slot), fresh.get(image.slot)):
            if there is not None and there.sha256 == image.sha256:
                return there
        try:
            firmware = load_firmware(self._folder / image.file, self._trust)
        except (FirmwareError, MemoryError):
            firmware = None
        if firmware is None or firmware.sha256 != image.sha256:
            # Another one than was read: to be read again at the next look.
            self._files[image.file].stamp = None
            return None
        return firmware

    # Telling

    def _complain(self, news: News) -> None:
        for file in self._files.values():
            if file.complaint and file.complaint != file.told and _is_quiet(file):
                file.told = file.complaint
                image = file.image
                is_held = image is not None and self._is_served(image)
                still = self.served[image.slot].name if image is not None and is_held else None
                news.complaints.append((file.complaint, still))


def _is_quiet(file: _File) -> bool:
    """Whether nothing has happened to it for a while."""
    if time.monotonic() - file.since >= _QUIET_S:
        return True
    status = file.seen[0]
    return status is None or time.time_ns() - status[3] >= _QUIET_S * 1e9


def is_folder(path: Path) -> bool:
    """Whether this is a catalogue's folder and no file."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
