"""What an OtaService does once, when the application starts: it checks its settings, and looks at
what runs and at what became of the update before. Its code goes again after that.
"""

from . import confirmation, gate, secure_version
from .compat import values_of
from .config import Config
from .descriptor import read_descriptor
from .errors import OtaError


def checked(settings):
    """What config.Config holds, without the code that checks it. Raises ValueError, OSError."""
    return values_of(Config(settings))


def gate_memory(config, board):
    """What the gate remembers, before anybody has come."""
    return gate.new_memory(config, board.random)


def look_around(service):
    """Look at the board, and leave in the service what is found."""
    board = service.board
    secure_version.open_storage(board)
    if service.config.identity != "mac":
        from . import device_identity

        device_identity.start(board)
    descriptor = read_descriptor(board.running_partition())
    service.descriptor = values_of(descriptor) if descriptor is not None else None
    _look_back(service)
    _warn(service)


def _look_back(service):
    try:
        reason = confirmation.rollback_reason(service.board)
        service.confirmed = not confirmation.is_pending(service.board)
    except OSError:
        return  # unreadable otadata must not keep the application from starting
    if reason is not None:
        service.went_back(
            OtaError("rolled-back", "the firmware installed last went back: %s" % reason)
        )


def _warn(service):
    """What takes away from the board's security is in its log from the start."""
    config = service.config
    if config.insecure:
        text = "an update takes a raw image from whoever connects to TCP port %d, without TLS"
        service.event("INSECURE", "insecure: " + text % config.insecure_port)
    if config.allow_unsigned:
        text = "where no key is trusted, unsigned firmware is installed"
        service.event("INSECURE", "allow_unsigned: " + text)
