"""Which images of a catalogue are served: for each chip and application the highest version.

Higher is first the higher secure version, then the higher version (`esp_image.versions`): a board
whose floor has been raised takes no lower secure version, whatever its version says. Versions that
compare as equal (`1.0`, `v1.0.0`) are the same version. Not here: files, copies, signatures.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cmp_to_key

from esp_image import versions
from ota_agent.errors import FirmwareError
from ota_agent.firmware import Firmware

Slot = tuple[str, str]
"""Chip and application."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What is known of a file's image. sha256: of the file, hex."""

    file: str
    chip: str
    project: str
    version: str
    secure_version: int
    sha256: str

    @property
    def slot(self) -> Slot:
        return self.chip, self.project


def listed(file: str, firmware: Firmware) -> Listed:
    """Raises FirmwareError for an image that no catalogue can place."""
    cure = "; stamp it with `ota-service image stamp` before it is signed"
    if not firmware.project:
        raise FirmwareError("no-project", f"firmware {file}: no project name{cure}")
    if not firmware.version:
        raise FirmwareError("no-version", f"firmware {file}: no version{cure}")
    try:
        versions.compare(firmware.version, firmware.version)
    except ValueError as error:
        raise FirmwareError("version-unknown", f"firmware {file}: {error}{cure}") from error
    return Listed(
        file,
        firmware.chip,
        firmware.project,
        firmware.version,
        firmware.secure_version,
        firmware.sha256,
    )


def is_higher(one: Listed, other: Listed) -> bool:
    return _compare(one, other) > 0


def choose(images: Iterable[Listed], served: Set[str]) -> tuple[list[Listed], dict[str, str]]:
    """The image to be served for each chip and application, in their order, and for files that are
    left out though they are good, why.

    served: SHA-256 of the images served so far. Of two different images that are the same
    version, one among these stays; else none of them is served, since nothing tells which is
    meant.
    """
    slots: dict[Slot, list[Listed]] = {}
    for each in images:
        slots.setdefault(each.slot, []).append(each)
    chosen: list[Listed] = []
    left_out: dict[str, str] = {}
    for slot in sorted(slots):
        candidates = []
        for same in _by_version(slots[slot]):
            meant = _meant(same, served)
            candidates += meant[:1]
            left_out.update(_ambiguous(same, meant))
        if candidates:
            chosen.append(max(candidates, key=cmp_to_key(_compare)))
    return chosen, left_out


def _by_version(images: Sequence[Listed]) -> list[list[Listed]]:
    """Those of equal versions together."""
    groups: list[list[Listed]] = []
    for each in sorted(images, key=cmp_to_key(_compare_version)):
        if groups and _compare_version(groups[-1][0], each) == 0:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _meant(same: Sequence[Listed], served: Set[str]) -> list[Listed]:
    """Of one version: the files of the image that can be served; empty if nothing tells which."""
    digests = {each.sha256 for each in same}
    if len(digests) > 1:
        digests &= served
    return [each for each in same if each.sha256 in digests] if len(digests) == 1 else []


def _ambiguous(same: Sequence[Listed], meant: Sequence[Listed]) -> Mapping[str, str]:
    """Why the others of one version are left out, by file."""
    reasons = {}
    for each in same:
        if each not in meant:
            others = next(one for one in (*meant, *same) if one.sha256 != each.sha256)
            reasons[each.file] = (
                f"{each.project} {each.version} {each.chip}: {others.file} is another image of the"
                " same version"
            )
    return reasons


def _compare(one: Listed, other: Listed) -> int:
    if one.secure_version != other.secure_version:
        return 1 if one.secure_version > other.secure_version else -1
    return _compare_version(one, other)


def _compare_version(one: Listed, other: Listed) -> int:
    return versions.compare(one.version, other.version)
