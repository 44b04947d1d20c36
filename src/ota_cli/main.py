"""Where the console script `ota-service` begins: before anything heavy is imported.

Importing takes long enough to be interrupted in; everything else is `command_line`'s.
"""

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script."""
    try:
        _open_standard_streams()
        from ota_cli.command_line import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("ota-service: interrupted\n")
        code = _INTERRUPTED
    sys.exit(code)


def _open_standard_streams() -> None:
    """What was closed by whoever started us goes nowhere, and no file opened later takes its
    descriptor."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
