"""`ota-service --verbose`: what a command is doing, a line with the time for each step.

On standard error, so that what a command prints stays as it is. Nothing secret is told: callers
name files and addresses, never contents, and `without_password` what may hold one.
"""

import sys
import time
from datetime import datetime
from urllib.parse import urlsplit

_state = {"on": False}


def turn_on() -> None:
    """From here on, for this process."""
    _state["on"] = True


def tell(text: str) -> None:
    """One line, if it is wanted; to the end of one that a progress bar is drawn below."""
    if _state["on"]:
        from ota_cli.output import printable  # brings in rich

        clock = datetime.now().isoformat(" ", "milliseconds")
        # Written at once: several threads tell what they do.
        sys.stderr.write(f"{clock} {printable(' '.join(text.split()))}\n")
        sys.stderr.flush()


class Took:
    """Times something: `f"{Took()}"` is how long ago it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{(time.monotonic() - self._began) * 1000:.0f} ms"


def without_password(url: str) -> str:
    """A URL as it may be shown: what stands before the host's @, and its query, left out."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
