"""One event, one line of JSON on the package's logger.

JSON because whatever a peer sent is then escaped and cannot forge a line. Where lines go is the
application's choice; `log_to_stderr` is the choice when it made none.
"""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

_logger = logging.getLogger("ota_agent")
_encode = json.JSONEncoder(default=str).encode
# What each line says beside what it is told, and who else is told its event.
_common: dict[str, object] = {}
_noted: Callable[[str], None] | None = None


def log_in_common(**fields: object) -> None:
    """From now on every line of this process says this as well, after its event."""
    _common.update(fields)


def note_events(noted: Callable[[str], None] | None) -> None:
    """Call this with the name of each event of this process, whether or not it is logged; None:
    nobody any more."""
    global _noted
    _noted = noted


def note_event(event: str) -> None:
    """It has happened once more, and has been told before: no line."""
    if _noted is not None:
        _noted(event)


def log_event(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write one line: the time (UTC), the event's name, then the fields in the order given."""
    note_event(event)
    if not _logger.isEnabledFor(level):
        return
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = _encode({"time": time, "event": event, **_common, **fields})
    # Not `log`: that would walk the stack for a place that no line tells.
    _logger.handle(_logger.makeRecord(_logger.name, level, "", 0, line, (), None))


def log_to_stderr() -> None:
    """Send the lines to stderr, unless the application has set up logging itself."""
    if _logger.hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
