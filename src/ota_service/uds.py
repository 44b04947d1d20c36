"""The board's unique device secret (UDS), and whether it ever had one.

NVS namespace `dice`, key `uds`, a blob of 32 bytes, written at manufacture or by `provision`; or
made from the MAC, which anyone can do. That there was one is kept apart, in namespace `ota`: a
board that has lost its UDS says so, and never makes another by itself (protocol.md, section E).
"""

from ota_crypto import wipe

from .compat import const
from .errors import OtaError

UDS_BYTES = 32
_NAMESPACE = const("dice")
_KEY = const("uds")
_MARK_NAMESPACE = const("ota")
_MARK_KEY = const("provisioned")
_NOT_FOUND = const(-0x1102)  # nvs.h: ESP_ERR_NVS_NOT_FOUND
_INVALID_LENGTH = const(-0x110C)  # ESP_ERR_NVS_INVALID_LENGTH


def read_uds(board, kind):
    """The UDS, a bytearray of 32 bytes for the caller to wipe.

    kind: `mac` or `provisioned`. Raises OtaError: `not-provisioned`, `uds-lost`, `nvs-unreadable`.
    """
    if kind == "mac":
        import dice

        return bytearray(dice.uds_from_mac(board.mac()))
    uds = bytearray(UDS_BYTES)
    size = _read(board, uds)
    if size == UDS_BYTES:
        return uds
    wipe(uds)
    if size:
        raise OtaError("uds-lost", "what NVS holds as this board's UDS is not 32 bytes")
    if was_provisioned(board):
        raise OtaError("uds-lost", "this board was provisioned, and its UDS is gone from NVS")
    raise OtaError("not-provisioned", "no UDS in NVS: this board has not been provisioned")


def note_uds(board):
    """Keep in mind that this board has a UDS, where it has one. When the application starts: an
    update that fails must leave nothing behind outside its slot."""
    uds = bytearray(UDS_BYTES)
    try:
        if _read(board, uds) and not was_provisioned(board):
            mark_provisioned(board)
    except (OSError, OtaError):
        pass  # said when the UDS is needed
    finally:
        wipe(uds)


def has_uds(board):
    """Whether NVS holds something as the UDS. Raises OtaError("nvs-unreadable")."""
    uds = bytearray(UDS_BYTES)
    try:
        return bool(_read(board, uds))
    finally:
        wipe(uds)


def write_uds(board, uds):
    """Write it, read it back, and keep in mind that there is one. Raises OSError, OtaError."""
    nvs = _open(board, _NAMESPACE)
    nvs.set_blob(_KEY, uds)
    nvs.commit()
    found = bytearray(UDS_BYTES)
    try:
        if _read(board, found) != UDS_BYTES or found != uds:
            raise OtaError("nvs-write", "the UDS did not take")
    finally:
        wipe(found)
    mark_provisioned(board)


def was_provisioned(board):
    """Whether this board ever had a UDS, as far as NVS knows. Raises OtaError."""
    try:
        return bool(_open(board, _MARK_NAMESPACE).get_i32(_MARK_KEY))
    except OSError as error:
        if _number(error) == _NOT_FOUND:
            return False
        raise _unreadable(error)


def mark_provisioned(board):
    """Keep in mind that this board has a UDS. Raises OSError."""
    nvs = _open(board, _MARK_NAMESPACE)
    nvs.set_i32(_MARK_KEY, 1)
    nvs.commit()


def _read(board, buffer):
    """How many bytes NVS holds as the UDS, 0 for none; up to 32 of them are in the buffer."""
    try:
        return _open(board, _NAMESPACE).get_blob(_KEY, buffer)
    except OSError as error:
        if _number(error) == _NOT_FOUND:
            return 0
        if _number(error) == _INVALID_LENGTH:
            return UDS_BYTES + 1
        raise _unreadable(error)


def _open(board, namespace):
    nvs = board.nvs(namespace)
    if nvs is None:
        raise OtaError("nvs-unreadable", "this board has no NVS, where its UDS would be")
    return nvs


def _number(error):
    return error.args[0] if error.args else None


def _unreadable(error):
    return OtaError("nvs-unreadable", "the UDS in NVS: error %s" % _number(error))
