"""The board's DICE certificate, made in steps while the board goes on answering."""

from .compat import let_go
from .measurements import measure_steps


def certificate_steps(board):
    """The board's certificate, DER; identity `mac` (protocol.md, section E). A generator. What
    makes evidence too is `device_identity`'s.

    Its code is unloaded afterwards where memory is scarce: a board makes it once a boot.
    """
    code_hash, config_value = yield from measure_steps(board)
    import dice

    yield
    uds = dice.uds_from_mac(board.mac())
    yield
    certificate = yield from dice.device_certificate_steps(uds, code_hash, config_value)
    let_go("dice", "ota_crypto", "ota_service.measurements", "ota_service.device_certificate")
    return certificate
