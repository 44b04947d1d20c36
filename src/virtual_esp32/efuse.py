"""eFuse values of a virtual board, in the sidecar file `FLASH.efuse.json`.

Beside the fuses the sidecar keeps what a real board's application would have in its own
configuration file: the key digests the owner trusts where Secure Boot is off.
"""

import json
from binascii import hexlify, unhexlify

from esp_image import chips

from .compat import error_text, replace_file
from .errors import VirtualBoardError

# Revisions of parts on sale, major * 100 + minor, so that real images' ranges fit
_USUAL_REVISIONS = {
    "esp32": 300,
    "esp32s2": 100,
    "esp32s3": 2,
    "esp32c2": 200,
    "esp32c3": 4,
    "esp32c5": 100,
    "esp32c6": 1,
    "esp32c61": 100,
    "esp32h2": 1,
    "esp32p4": 103,
}
_KEY_SLOTS = 3  # SECURE_BOOT_DIGEST0..2, ESP-IDF components/efuse


def sidecar_path(flash_path):
    """The sidecar's path for a flash file's path."""
    return str(flash_path) + ".efuse.json"


class EFuse:
    """One chip's fuses.

    mac: 6 bytes. chip: name as `esp32s3`. chip_revision: major * 100 + minor, None for a part as
    usually sold. secure_boot: 0 off, 1 Secure Boot V1, 2 Secure Boot V2. key_digests: up to three
    of 32 bytes. revoked: one bool per digest. secure_version: 0..16. trusted_keys: the
    application's own configuration, 32-byte digests.
    """

    def __init__(self, mac, chip="esp32", chip_revision=None, secure_boot=0, key_digests=(),
                 revoked=(), secure_version=0, trusted_keys=()):  # fmt: skip
        if not isinstance(chip, str) or chip not in chips.CHIPS:
            raise VirtualBoardError(
                "chip %r: expected one of %s" % (chip, ", ".join(sorted(chips.CHIPS)))
            )
        self.mac = bytes(mac)
        self.chip = chip
        if chip_revision is None:
            chip_revision = _USUAL_REVISIONS[chip]
        self.chip_revision = chip_revision
        self.secure_boot = secure_boot
        self.key_digests = [bytes(digest) for digest in key_digests]
        self.revoked = list(revoked) or [False] * len(self.key_digests)
        self.secure_version = secure_version
        self.trusted_keys = [bytes(digest) for digest in trusted_keys]
        self._check()

    @property
    def chip_id(self):
        """The chip's id in image headers, esp_app_format.h esp_chip_id_t."""
        return chips.chip_id(self.chip)

    @property
    def revoked_digests(self):
        """Those of key_digests that are revoked."""
        return [digest for digest, gone in zip(self.key_digests, self.revoked) if gone]

    def raise_secure_version(self, value):
        """Burn the secure version: fuses only rise, a lower value changes nothing."""
        self.secure_version = max(self.secure_version, value)

    def to_json(self):
        """The sidecar's text."""
        return json.dumps(
            {
                "mac": format_mac(self.mac),
                "chip": self.chip,
                "chip_revision": self.chip_revision,
                "secure_boot": self.secure_boot,
                "key_digests": [hexlify(digest).decode() for digest in self.key_digests],
                "revoked": self.revoked,
                "secure_version": self.secure_version,
                "trusted_keys": [hexlify(digest).decode() for digest in self.trusted_keys],
            }
        )

    @classmethod
    def from_json(cls, text):
        """Raises VirtualBoardError naming the field that is wrong."""
        try:
            values = json.loads(text)
        except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
            raise VirtualBoardError("eFuse file: not JSON")
        if not isinstance(values, dict) or "mac" not in values:
            raise VirtualBoardError("eFuse file: expected an object with at least a mac")
        known = {"mac", "chip", "chip_revision", "secure_boot", "key_digests", "revoked",
                 "secure_version", "trusted_keys"}  # fmt: skip
        unknown = sorted(set(values) - known)
        if unknown:
            raise VirtualBoardError("eFuse file: unknown field %s" % unknown[0])
        values["mac"] = parse_mac(values["mac"])
        for field in ("key_digests", "revoked", "trusted_keys"):
            if not isinstance(values.get(field, []), list):
                raise VirtualBoardError("eFuse file: %s: expected a list" % field)
        for field in ("key_digests", "trusted_keys"):
            values[field] = [_digest(field, item) for item in values.get(field, ())]
        return cls(**values)

    @classmethod
    def load(cls, flash_path):
        """The fuses of the flash file's board. Raises VirtualBoardError."""
        path = sidecar_path(flash_path)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise VirtualBoardError(
                "%s: %s; a flash file has its eFuse values there" % (path, error_text(error))
            )
        try:
            return cls.from_json(content.decode())
        except UnicodeError:
            raise VirtualBoardError("eFuse file: not JSON")

    def save(self, flash_path):
        replace_file(sidecar_path(flash_path), self.to_json() + "\n")

    def _check(self):
        if len(self.mac) != 6:
            raise VirtualBoardError("MAC: expected 6 bytes, found %d" % len(self.mac))
        for name in ("chip_revision", "secure_version", "secure_boot"):
            if not _is_count(getattr(self, name)):
                raise VirtualBoardError(
                    "%s %r: expected a number from 0 to 65535" % (name, getattr(self, name))
                )
        if self.secure_boot > 2:
            raise VirtualBoardError("secure_boot %r: expected 0, 1 or 2" % (self.secure_boot,))
        if len(self.key_digests) > _KEY_SLOTS or len(self.revoked) != len(self.key_digests):
            raise VirtualBoardError("key_digests: expected up to 3, with one revoked flag each")
        if not all(flag is True or flag is False for flag in self.revoked):
            raise VirtualBoardError("revoked: expected true or false for each key digest")


def parse_mac(text):
    """`aa:bb:cc:dd:ee:ff` as 6 bytes. Raises VirtualBoardError."""
    parts = text.split(":") if isinstance(text, str) else ()
    try:
        if len(parts) == 6 and all(len(part) == 2 for part in parts):
            return unhexlify("".join(parts))
    except ValueError:
        pass
    raise VirtualBoardError("MAC %r: expected six hex bytes like 24:0a:c4:12:34:56" % (text,))


def format_mac(mac):
    """6 bytes as `aa:bb:cc:dd:ee:ff`."""
    return ":".join("%02x" % byte for byte in mac)


def _is_count(value):
    """Whether it is a whole number that two fuse bytes hold; True is none."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF


def _digest(field, text):
    try:
        digest = unhexlify(text)
    except (ValueError, TypeError):
        digest = b""
    if len(digest) != 32:
        raise VirtualBoardError("eFuse file: %s holds %r, expected 64 hex digits" % (field, text))
    return digest
