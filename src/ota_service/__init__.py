"""The OTA component of a board: handlers for its HTTP endpoints, the update, the confirmation.

The functions here work on one default OtaService, made by `setup`, and are named as in the C
component (include/ota-service.h). Endpoints are wired up by whoever serves HTTP (esp32_akri).
Importing this loads next to nothing: firmware that only has to confirm itself takes
`ota_service.confirmation`.
"""

from ota_crypto import lazy

from .errors import OtaError

__all__ = [
    "OtaError",
    "OtaService",
    "confirm",
    "info_handler",
    "onboard_request_handler",
    "ota_cancel_handler",
    "ota_request_handler",
    "ota_service_begin",
    "ota_status_handler",
    "setup",
]

_WHERE = {"OtaService": "service"}
_default = None


def __getattr__(name):
    return lazy.attribute(__name__, name, _WHERE)


def setup(board, settings=None, self_test=None, on_progress=None, on_event=None):
    """Make the default OtaService; see service.OtaService for the arguments. Returns it."""
    global _default
    from .service import OtaService

    _default = OtaService(board, settings, self_test, on_progress, on_event)
    return _default


def _service():
    if _default is None:
        raise RuntimeError("ota_service.setup(board, settings) comes first")
    return _default


def ota_request_handler(req):
    """Handler for POST /update."""
    return _service().ota_request_handler(req)


def ota_status_handler(req):
    """Handler for GET /update."""
    return _service().ota_status_handler(req)


def ota_cancel_handler(req):
    """Handler for DELETE /update."""
    return _service().ota_cancel_handler(req)


def onboard_request_handler(req):
    """Handler for GET /onboard: a coroutine."""
    return _service().onboard_request_handler(req)


def info_handler(req):
    """Handler for GET /info, from the running image's app descriptor."""
    return _service().info_handler(req)


async def ota_service_begin(ip):
    """Run one whole update from the agent at `ip`; raises OtaError."""
    await _service().ota_service_begin(ip)


async def confirm():
    """Confirm new firmware after its self-test, or go back; returns the outcome."""
    return await _service().confirm()
