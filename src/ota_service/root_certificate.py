"""The board's root certificate, for whoever enrols it.

Made each time it is asked for, and given out over HTTP only in a window
(device_identity.open_root_window).
"""

from ota_crypto import wipe

from .compat import let_go, ticks_diff, ticks_ms
from .errors import BadRequest
from .uds import read_uds


async def certificate(service, arguments):
    """The certificate that a GET /onboard with these query arguments is for, DER. Raises
    BadRequest while the root certificate is not given out, OtaError."""
    if arguments.get("root") != "1":
        return await service.device_certificate()
    until = getattr(service, "root_until", None)
    if until is None or ticks_diff(until, ticks_ms()) <= 0:
        raise BadRequest("the root certificate is not given out now", 403, "window-closed")
    return await service.stepped(root_certificate_steps(service.board, service.config.identity))


def root_certificate_steps(board, kind):
    """The board's root certificate, DER. A generator. Raises OtaError."""
    import dice

    secret = read_uds(board, kind)
    try:
        certificate = yield from dice.root_certificate_steps(secret)
    finally:
        wipe(secret)
    let_go("dice", "ota_crypto", "ota_service.uds", "ota_service.root_certificate")
    return certificate
