"""`python -m virtual_esp32 FLASH` and `micropython -m virtual_esp32 FLASH`: power a board.

Boots the flash file and runs the example application until interrupted. Options as those of
`ota-service board run`: --http HOST:PORT, --agent-ca FILE (DER, or PEM), --policy, --project.
"""

import asyncio
import sys

from .application import Application
from .board import VirtualBoard, power_on
from .efuse import EFuse
from .errors import VirtualBoardError
from .flash import NorFlash

_USAGE = (
    "usage: -m virtual_esp32 FLASH [--http HOST:PORT] [--agent-ca FILE] [--policy POLICY] "
    "[--project NAME]"
)
_OPTIONS = ("--http", "--agent-ca", "--policy", "--project")


class _UsageError(Exception):
    pass


def _parse(arguments):
    """(flash path, {option: value})."""
    paths = []
    options = {"--http": "127.0.0.1:8032"}
    i = 0
    while i < len(arguments):
        name = arguments[i]
        if name in _OPTIONS:
            if i + 1 == len(arguments):
                raise _UsageError("%s: expected a value" % name)
            options[name] = arguments[i + 1]
            i += 2
        elif name.startswith("-"):
            raise _UsageError("unknown option %s" % name)
        else:
            paths.append(name)
            i += 1
    if len(paths) != 1:
        raise _UsageError("expected one flash file, found %d" % len(paths))
    return paths[0], options


def _read_certificate(path):
    with open(path, "rb") as file:
        content = file.read()
    if content[:1] == b"\x30":
        return content
    from dice.certificate import from_pem

    return from_pem(content)


def _settings(options):
    settings = {}
    if "--agent-ca" in options:
        settings["agent_ca"] = _read_certificate(options["--agent-ca"])
    for name in ("policy", "project"):
        if "--" + name in options:
            settings[name] = options["--" + name]
    return settings


def _address(text):
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port or not all("0" <= c <= "9" for c in port):
        raise _UsageError("--http %s: expected HOST:PORT" % text)
    return host, int(port)


def _log(name, detail):
    print("board %s: %s" % (name, detail), file=sys.stderr)


def _ready(host, port):
    print("board listening on http://%s:%d" % (host, port))


def main(arguments):
    """Run; returns the exit code: 0, 1 failed, 2 usage."""
    try:
        path, options = _parse(arguments)
        host, port = _address(options["--http"])
        settings = _settings(options)
    except (_UsageError, OSError, ValueError) as error:
        print("virtual_esp32: %s; %s" % (error, _USAGE), file=sys.stderr)
        return 2
    try:
        board = VirtualBoard(NorFlash.open(path), EFuse.load(path))
        application = Application(host, port, settings, on_event=_log, on_ready=_ready)
        asyncio.run(power_on(board, application))
    except (OSError, ValueError, VirtualBoardError) as error:
        print("virtual_esp32: %s: %s" % (path, error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
