"""What can go wrong here, each with a text of one line that a person at a terminal can act on."""


class AgentError(Exception):
    """Root of every error this package raises on purpose."""


class SettingsError(AgentError, ValueError):
    """A setting is missing or cannot be what it was set to."""


class FirmwareError(AgentError):
    """The firmware file cannot be read, or is not a whole and valid image.

    code: `unreadable`, `not-copied` (for want of memory or descriptors, say), or one of an
    esp_image.ImageError.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class PullError(AgentError):
    """Firmware cannot be had from the registry, for now: it is tried again."""


class ContentError(PullError):
    """What the registry holds under this name is not firmware as it should be published."""


class CertificateError(AgentError):
    """The agent's own certificate or key cannot be read, or they do not belong together."""


class ListenError(AgentError):
    """The agent cannot listen on the address it was given."""


class UnfinishedError(AgentError):
    """The agent ended while so many boards were still receiving."""

    def __init__(self, cut_off: int) -> None:
        what = "1 transfer was" if cut_off == 1 else f"{cut_off} transfers were"
        super().__init__(f"{what} cut off at shutdown")
        self.cut_off = cut_off


class PeerError(AgentError):
    """A board did not keep to the protocol, or went away. It ends that session only.

    outcome: a stable word for the log and for statistics.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
