"""`python -m virtual_esp32 FLASH` and `micropython -m virtual_esp32 FLASH`: power a board.

Boots the flash file and runs the example application until interrupted. Options as those of
`ota-service board run`: --http HOST:PORT, --config FILE (JSON), and, before what stands in there,
--agent-ca FILE (DER, or PEM), --identity, --policy, --project.
Exit codes: 0 done, 1 failed, 2 usage.
"""

import asyncio
import sys

from dice.errors import CertificateError
from dice.pem import from_pem
from ota_service import compat
from ota_service.request import is_dns_name, is_ipv4

from .application import Application, read_settings
from .board import VirtualBoard, power_on
from .compat import error_text
from .efuse import EFuse
from .errors import VirtualBoardError
from .flash import NorFlash

_USAGE = (
    "usage: -m virtual_esp32 FLASH [--http HOST:PORT] [--config FILE] [--agent-ca FILE] "
    "[--identity KIND] [--policy POLICY] [--project NAME]"
)
_OPTIONS = ("--http", "--config", "--agent-ca", "--identity", "--policy", "--project")
_CHOICES = {
    "identity": ("mac", "provisioned"),
    "policy": ("different", "newer", "any"),
}


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
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _UsageError("--agent-ca %s: %s" % (path, error_text(error)))
    try:
        if content[:1] != b"\x30":
            content = from_pem(content)
        compat.tls().client_context([content])  # reads it as the update will
    except CertificateError as error:
        raise _UsageError("--agent-ca %s: %s" % (path, error))
    except (OSError, ValueError):
        raise _UsageError("--agent-ca %s: not a certificate" % path)
    return content


def _read_settings(path):
    try:
        return read_settings(path)
    except OSError as error:
        raise _UsageError("--config %s: %s" % (path, error_text(error)))
    except ValueError as error:
        raise _UsageError("--config %s: %s" % (path, error))


def _settings(options):
    settings = _read_settings(options["--config"]) if "--config" in options else {}
    if "--agent-ca" in options:
        settings["agent_ca"] = _read_certificate(options["--agent-ca"])
    for name, choices in _CHOICES.items():
        given = options.get("--" + name, choices[0])
        if given not in choices:
            raise _UsageError("--%s %s: expected %s" % (name, given, ", ".join(choices)))
    for name in ("identity", "policy", "project"):
        if "--" + name in options:
            settings[name] = options["--" + name]
    return settings


def _address(text):
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    digits = 0 < len(port) <= 5 and all("0" <= c <= "9" for c in port)
    if not digits or int(port) > 65535 or not _is_host(host):
        raise _UsageError("--http %s: expected HOST:PORT, as 127.0.0.1:8032" % text)
    return host, int(port)


def _is_host(text):
    """An IPv4 address, a DNS name, or what may be an IPv6 address."""
    if ":" in text:
        return all(character in "0123456789abcdefABCDEF:." for character in text)
    return is_ipv4(text) or is_dns_name(text)


def _log(name, detail):
    print("board %s: %s" % (name, detail), file=sys.stderr)


def _ready(host, port):
    print("board listening on http://%s:%d" % (host, port))


def main(arguments):
    """Run; returns the exit code."""
    if "--help" in arguments or "-h" in arguments:
        print(_USAGE)
        return 0
    try:
        path, options = _parse(arguments)
        host, port = _address(options["--http"])
        settings = _settings(options)
    except _UsageError as error:
        return _complain("%s; %s" % (error, _USAGE), 2)
    try:
        board = _open(path)
    except OSError as error:
        return _complain("%s: %s" % (path, error_text(error)), 1)
    except VirtualBoardError as error:
        return _complain("%s: %s" % (path, error), 1)
    try:
        application = Application(host, port, settings, on_event=_log, on_ready=_ready)
        asyncio.run(power_on(board, application))
    except OSError as error:
        return _complain("%s: cannot listen: %s" % (options["--http"], error_text(error)), 1)
    except (ValueError, VirtualBoardError) as error:
        return _complain("%s: %s" % (path, error), 1)
    except KeyboardInterrupt:
        pass
    finally:
        board.flash.close()
    return 0


def _open(path):
    """The board of a flash file. Raises OSError, VirtualBoardError."""
    flash = NorFlash.open(path)
    try:
        return VirtualBoard(flash, EFuse.load(path))
    except VirtualBoardError:
        flash.close()
        raise


def _complain(text, code):
    print("virtual_esp32: %s" % text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
