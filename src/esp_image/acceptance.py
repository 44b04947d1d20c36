"""May this image be installed on this board? Asked of its first 288 bytes, before any erase.

Not checked here: whether the image is whole and intact (`parser`), whose it is (`signature`).
"""

from .compat import const
from .errors import Refused
from .expected import ANY, DIFFERENT, NEWER, Expected  # noqa: F401

# "No limit" in a maximum revision: ESP-IDF bootloader_common_loader.c, IS_FIELD_SET.
_UNSET = const((0, 65535))
_ESP32 = const(0)


def check(header, descriptor, expected, content_length=None):
    """Every reason not to install the image, as (code, message); empty if there is none.

    header, descriptor: as the parser gives them. content_length: bytes announced, None if unknown.
    Codes: `chip-mismatch`, `chip-revision`, `efuse-revision`, `secure-version`,
    `project-mismatch`, `same-image`, `version-unknown`, `not-newer`, `too-large`.
    """
    failures = check_chip(header, expected)
    failures += _check_efuse_block(header, descriptor, expected)
    if descriptor.secure_version < expected.secure_version_floor:
        failures.append(
            (
                "secure-version",
                "secure version %d, this board takes %d and above"
                % (descriptor.secure_version, expected.secure_version_floor),
            )
        )
    if expected.project_name not in (None, descriptor.project_name):
        failures.append(
            (
                "project-mismatch",
                "project %r, this board runs %r" % (descriptor.project_name, expected.project_name),
            )
        )
    failures += _check_policy(descriptor, expected)
    failures += _check_length(content_length, expected)
    return failures


def require(header, descriptor, expected, content_length=None):
    """Raises Refused with every failed check, or returns None."""
    failures = check(header, descriptor, expected, content_length)
    if failures:
        raise Refused(failures)


def check_chip(header, expected, bootloader=False):
    """The part a bootloader checks too: chip and its revision, as `check`.

    bootloader: the image is a second-stage bootloader, whose maximum revision does not count.
    Source: ESP-IDF 5.2.2 bootloader_common_loader.c, bootloader_common_check_chip_validity; the
    eFuse bit that lifts the maximum (DISABLE_WAFER_VERSION_MAJOR) is not looked at.
    """
    if header.chip_id != expected.chip_id:
        from . import chips

        message = "chip id %s, this board is %s" % (
            chips.describe(header.chip_id),
            chips.describe(expected.chip_id),
        )
        return [("chip-mismatch", message)]
    maximum = 0 if bootloader else header.max_chip_rev_full
    return _check_revision(
        "chip-revision", "chip", expected.chip_revision, header.min_chip_rev_full, maximum
    )


def require_chip(header, expected, bootloader=False):
    """Raises Refused if `check_chip` finds something."""
    failures = check_chip(header, expected, bootloader)
    if failures:
        raise Refused(failures)


def _check_efuse_block(header, descriptor, expected):
    """Source: bootloader_common_check_efuse_blk_validity; the ESP32 has no such revision."""
    if header.chip_id == _ESP32:
        return []
    minimum = descriptor.min_efuse_block_rev
    return _check_revision(
        "efuse-revision",
        "eFuse block",
        expected.efuse_block_revision,
        0 if minimum in _UNSET else minimum,
        descriptor.max_efuse_block_rev,
    )


def _check_revision(code, name, found, minimum, maximum):
    if found is None:
        return []
    if found < minimum:
        text = "needs %s revision v%d.%d or above, this is v%d.%d"
        return [(code, text % ((name,) + divmod(minimum, 100) + divmod(found, 100)))]
    if maximum not in _UNSET and found > maximum:
        text = "takes %s revision v%d.%d at most, this is v%d.%d"
        return [(code, text % ((name,) + divmod(maximum, 100) + divmod(found, 100)))]
    return []


def _check_policy(descriptor, expected):
    running = expected.running
    if expected.policy == NEWER:
        return _check_newer(descriptor.version, running.version if running else "")
    if expected.policy == DIFFERENT and running is not None and _is_same(descriptor, running):
        text = "version %r of %r runs already" % (descriptor.version, descriptor.project_name)
        return [("same-image", text)]
    return []


def _is_same(a, b):
    return (
        a.version == b.version
        and a.project_name == b.project_name
        and a.app_elf_sha256 == b.app_elf_sha256
    )


def _check_newer(version, running):
    from . import versions

    try:
        if versions.compare(version, running) > 0:
            return []
    except ValueError:
        text = "version %r cannot be compared with the running %r" % (version, running)
        return [("version-unknown", text)]
    return [("not-newer", "version %r, newer than the running %r is asked" % (version, running))]


def _check_length(content_length, expected):
    if None in (content_length, expected.max_bytes) or content_length <= expected.max_bytes:
        return []
    text = "%d bytes announced, the slot has %d" % (content_length, expected.max_bytes)
    return [("too-large", text)]
