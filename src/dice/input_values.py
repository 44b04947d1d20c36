"""The measurements a DICE layer takes in (Open Profile for DICE, "Input Values")."""

from ota_crypto import sha512
from ota_crypto.compat import const

_FIELD_BYTES = const(64)
_ZEROS = bytes(_FIELD_BYTES)

MODE_NOT_INITIALIZED = 0
MODE_NORMAL = 1
MODE_DEBUG = 2
MODE_RECOVERY = 3


class InputValues:
    """What is measured of the next layer. Fields are checked here and not changed afterwards.

    code_hash, config_value, authority_hash, hidden: 64 bytes each, zeros by default.
    config_descriptor: None for configuration type "inline" (config_value counts), else bytes, also
    empty, for type "descriptor" (config_value must be left zero or is ignored).
    code_descriptor, authority_descriptor: bytes, empty for none. mode: 0..3.
    Raises ValueError for other sizes or modes.
    """

    def __init__(
        self,
        code_hash=_ZEROS,
        config_value=_ZEROS,
        config_descriptor=None,
        code_descriptor=b"",
        authority_hash=_ZEROS,
        authority_descriptor=b"",
        mode=MODE_NOT_INITIALIZED,
        hidden=_ZEROS,
    ):
        self.code_hash = _checked("code_hash", code_hash)
        self.config_value = _checked("config_value", config_value)
        self.config_descriptor = None if config_descriptor is None else bytes(config_descriptor)
        self.code_descriptor = bytes(code_descriptor)
        self.authority_hash = _checked("authority_hash", authority_hash)
        self.authority_descriptor = bytes(authority_descriptor)
        if mode not in (0, 1, 2, 3):
            raise ValueError("mode is 0..3, not %r" % (mode,))
        self.mode = mode
        self.hidden = _checked("hidden", hidden)

    def configuration(self):
        """The configuration's 64 bytes: the inline value, or the descriptor's hash."""
        if self.config_descriptor is None:
            return self.config_value
        return sha512(self.config_descriptor).digest()


def _checked(name, value):
    if len(value) != _FIELD_BYTES:
        raise ValueError("%s is %d bytes, not %d" % (name, _FIELD_BYTES, len(value)))
    return bytes(value)
