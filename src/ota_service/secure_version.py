"""The floor below which no image is installed, whatever the policy.

MicroPython cannot burn eFuses, so beside the eFuse and the running image's own secure version a
floor is kept in NVS, and raised when new firmware confirms itself (architecture.md, Decisions).
"""

from .compat import const
from .errors import OtaError

_NAMESPACE = const("ota")
_KEY = const("secure_version")
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND, nvs.h
_I32_MAX = const(0x7FFFFFFF)


def open_storage(board):
    """Open the namespace when the application starts: the first opening ever writes to NVS, and
    an update that fails must leave nothing behind outside its slot."""
    try:
        board.nvs(_NAMESPACE)
    except OSError:
        pass  # said when the floor is needed


def floor(board, running):
    """The floor: the largest of eFuse's, the running image's and NVS's secure version.

    running: the running image's app descriptor, or None. Raises OtaError("nvs-unreadable"): an
    unknown floor is none that an image could pass.
    """
    return max(board.secure_version, running.secure_version if running else 0, _stored(board))


def raise_floor(board, running):
    """Keep the running image's secure version as the floor, on a board that has NVS.

    Raises OSError, OtaError.
    """
    if running is not None and running.secure_version > _stored(board):
        nvs = board.nvs(_NAMESPACE)
        if nvs is not None:
            nvs.set_i32(_KEY, min(running.secure_version, _I32_MAX))


def _stored(board):
    """What NVS holds: 0 when it holds nothing, or when the board has no NVS."""
    try:
        nvs = board.nvs(_NAMESPACE)
        return nvs.get_i32(_KEY) if nvs is not None else 0
    except OSError as error:
        if error.args and error.args[0] == _NOT_FOUND:
            return 0
        raise OtaError("nvs-unreadable", "the secure version floor in NVS: %s" % error)
