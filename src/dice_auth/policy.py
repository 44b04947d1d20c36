"""What boards may be let in, of those that have proved who they are: reference values for what
they say of their firmware (RFC 9334, section 4.2), from a TOML file.

    allow_mac_identity = false
    unknown_applications = "allow"          or "refuse": those that have no table
    modes = ["normal"]                      DICE modes, for those too

    [applications.thermo]
    image_digests = ["4d7c..."]             SHA-256 of the running image, as evidence claims it
    code_hashes = ["9a01..."]               of the DICE certificate: 64 bytes, or 32 put twice
    configurations = "any"                  of the DICE certificate: up to 64 bytes, zeros follow
    modes = ["normal", "debug"]

What is left out is "any", modes aside. Reading the file, and again when it changes, is
`settings`' subject.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dice.extension import DiceExtension
from dice.input_values import MODE_DEBUG, MODE_NORMAL, MODE_RECOVERY
from dice_auth.errors import PolicyError
from dice_auth.toml_lines import line_of, line_of_unreadable

APPLICATION = "policy-application"
IMAGE_DIGEST = "policy-image-digest"
CODE_HASH = "policy-code-hash"
CONFIGURATION = "policy-configuration"
MODE = "policy-mode"
POLICY_CHECKS = (APPLICATION, IMAGE_DIGEST, CODE_HASH, CONFIGURATION, MODE)

_MODES = {"normal": MODE_NORMAL, "debug": MODE_DEBUG, "recovery": MODE_RECOVERY}
_DIGEST_BYTES = 32
_FIELD_BYTES = 64
_NORMAL = frozenset({MODE_NORMAL})

_Path = tuple[str, ...]
# None: any.
_Values = frozenset[bytes] | None


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """Of one application. None: any. modes: of DICE, 1 to 3."""

    image_digests: _Values = None
    code_hashes: _Values = None
    configurations: _Values = None
    modes: frozenset[int] = _NORMAL

    def failed(self, image_digest: bytes, measured: DiceExtension | None) -> list[str]:
        """As `Policy.failed`."""
        code = configuration = mode = None
        if measured is not None:
            code, mode = measured.code_hash, measured.mode
            # The inline value, or the hash of what is described.
            configuration = measured.configuration_hash or measured.configuration_value
        passed = {
            IMAGE_DIGEST: self.image_digests is None or image_digest in self.image_digests,
            CODE_HASH: self.code_hashes is None or code in self.code_hashes,
            CONFIGURATION: self.configurations is None or configuration in self.configurations,
            MODE: mode in self.modes,
        }
        return [check for check, is_passed in passed.items() if not is_passed]


@dataclass(frozen=True, slots=True)
class Policy:
    """applications: by name. others: for those that have none, or None: they are refused."""

    applications: Mapping[str, ReferenceValues] = field(default_factory=dict)
    others: ReferenceValues | None = field(default_factory=ReferenceValues)
    allow_mac_identity: bool = False

    def failed(
        self, application: str, image_digest: bytes, measured: DiceExtension | None
    ) -> list[str]:
        """The names of those POLICY_CHECKS that fail, all of them.

        application, image_digest (32 bytes): as claimed. measured: of the DICE certificate.
        """
        values = self.applications.get(application, self.others)
        return [APPLICATION] if values is None else values.failed(image_digest, measured)


DEFAULT_POLICY = Policy()


def parse_policy(text: str) -> Policy:
    """Raises PolicyError, one line that names the line of the mistake."""
    try:
        # With one more line, where it says "at end of document" of the last one.
        table = tomllib.loads(text + "\n")
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what else it can raise
        line = line_of_unreadable(text)
        raise PolicyError(f"{error}" if line is None else f"line {line}: {error}") from None
    try:
        return _policy(table)
    except _Mistake as mistake:
        line = line_of(text, mistake.path, mistake.literal)
        name = ".".join(mistake.path)
        raise PolicyError(f"line {line}: {name}: {mistake.reason}") from None


class _Mistake(Exception):
    """path: of the key. literal: of the value in an array that is meant."""

    def __init__(self, path: _Path, reason: str, literal: str = "") -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason
        self.literal = literal


def _policy(table: dict[str, Any]) -> Policy:
    known = ("allow_mac_identity", "unknown_applications", "modes", "applications")
    _check_keys((), table, known)
    allow_mac = table.get("allow_mac_identity", False)
    if not isinstance(allow_mac, bool):
        raise _Mistake(
            ("allow_mac_identity",), f"expected true or false, found {_shown(allow_mac)}"
        )
    unknown = table.get("unknown_applications", "allow")
    if unknown not in ("allow", "refuse"):
        raise _Mistake(
            ("unknown_applications",), f'expected "allow" or "refuse", found {_shown(unknown)}'
        )
    modes = _modes(("modes",), table)
    applications = _table(("applications",), table.get("applications", {}))
    return Policy(
        {
            name: _reference_values(("applications", name), values, modes)
            for name, values in applications.items()
        },
        ReferenceValues(modes=modes) if unknown == "allow" else None,
        allow_mac,
    )


def _reference_values(path: _Path, value: object, modes: frozenset[int]) -> ReferenceValues:
    table = _table(path, value)
    _check_keys(path, table, ("image_digests", "code_hashes", "configurations", "modes"))
    return ReferenceValues(
        _values(path, table, "image_digests", _image_digest),
        _values(path, table, "code_hashes", _code_hash),
        _values(path, table, "configurations", _configuration),
        _modes((*path, "modes"), table) if "modes" in table else modes,
    )


def _values(
    path: _Path, table: dict[str, Any], name: str, read: Callable[[bytes], bytes | None]
) -> _Values:
    value = table.get(name, "any")
    if value == "any":
        return None
    path = (*path, name)
    expected = _EXPECTED[name]
    found = set()
    for each in _array(path, value, f'"any" or an array of {expected}'):
        read_value = read(_from_hex(path, each, expected))
        if read_value is None:
            raise _Mistake(path, f"expected {expected}, found {len(each)} digits", each)
        found.add(read_value)
    return frozenset(found)


_EXPECTED = {
    "image_digests": "64 hex digits",
    "code_hashes": "128 hex digits, or 64",
    "configurations": "up to 128 hex digits",
}


def _image_digest(value: bytes) -> bytes | None:
    return value if len(value) == _DIGEST_BYTES else None


def _code_hash(value: bytes) -> bytes | None:
    """A SHA-256 stands twice in a certificate's field."""
    whole = value * 2 if len(value) == _DIGEST_BYTES else value
    return whole if len(whole) == _FIELD_BYTES else None


def _configuration(value: bytes) -> bytes | None:
    return value.ljust(_FIELD_BYTES, b"\0") if 0 < len(value) <= _FIELD_BYTES else None


def _modes(path: _Path, table: dict[str, Any]) -> frozenset[int]:
    expected = "an array of " + ", ".join(f'"{name}"' for name in _MODES)
    modes = set()
    for each in _array(path, table.get("modes", ["normal"]), expected):
        if not isinstance(each, str) or each not in _MODES:
            raise _Mistake(path, f"expected {expected}, found {_shown(each)}", _literal(each))
        modes.add(_MODES[each])
    return frozenset(modes)


def _array(path: _Path, value: object, expected: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Mistake(path, f"expected {expected}, found {_shown(value)}")
    if not value:
        raise _Mistake(path, f"expected {expected}, found none: nothing could pass")
    return value


def _table(path: _Path, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Mistake(path, f"expected a table, found {_shown(value)}")
    return value


def _from_hex(path: _Path, value: object, expected: str) -> bytes:
    try:
        if isinstance(value, str) and value.isalnum():
            return bytes.fromhex(value)
    except ValueError:
        pass
    raise _Mistake(path, f"expected {expected}, found {_shown(value)}", _literal(value))


def _check_keys(path: _Path, table: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in table:
        if name not in known:
            raise _Mistake((*path, name), f"unknown, expected one of {', '.join(known)}")


def _literal(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _shown(value: object) -> str:
    return f"{value!r:.60}"
