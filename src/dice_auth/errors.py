"""What can go wrong here, each with a text of one line that a person at a terminal can act on."""


class DiceAuthError(Exception):
    """Root of every error this package raises on purpose."""


class RegistryUrlError(DiceAuthError, ValueError):
    """The registry's URL is not one of the forms understood here."""


class RegistryError(DiceAuthError):
    """The registry cannot answer now: unreachable, locked, damaged or gone.

    It says nothing about any board, so it must become neither an acceptance nor a refusal.
    """


class MissingRegistryError(RegistryError):
    """There is none where it should be."""


class EnrolmentError(DiceAuthError, ValueError):
    """What was given for enrolment is no MAC address, no board id, no DICE root or no batch."""


class AlreadyEnrolledError(DiceAuthError):
    """The id is enrolled with another root, or the root under another id."""


class RevokedError(DiceAuthError):
    """The root certificate to enrol is revoked."""


class StaleRevisionError(DiceAuthError):
    """The board's record is no longer, or was never, the one that the caller has seen."""


class PolicyError(DiceAuthError, ValueError):
    """A policy that is none: not TOML, or a key or value that means nothing."""


class SettingsError(DiceAuthError, ValueError):
    """An option of the server, or a file that one names, is not what it should be."""


class ListenError(DiceAuthError):
    """The server cannot listen on the address it was given."""
