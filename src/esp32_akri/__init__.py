"""The board's HTTP endpoints, named as in the C component esp32-akri.

The functions here work on one default server; `AkriServer` is the same for more than one.
"""

from .server import AkriServer

__all__ = [
    "AkriServer",
    "akri_server_end",
    "akri_server_start",
    "akri_set_handler_generic",
    "akri_set_handler_generic_with_context",
    "akri_set_info_handler",
    "akri_set_onboard_handler",
    "akri_set_temp_handler",
    "akri_set_update_handler",
]

_default = AkriServer()


def akri_server_start(host="0.0.0.0", port=80):
    """Start the server as a task on the running loop; returns the task."""
    return _default.start(host, port)


async def akri_server_end():
    """Stop the server and free its port."""
    await _default.end()


def akri_set_update_handler(h, status=None, cancel=None):
    """POST /update; with `status` also GET, with `cancel` also DELETE."""
    _default.set_update_handler(h, status, cancel)


def akri_set_info_handler(h):
    """GET /info."""
    _default.set_handler_generic("/info", "GET", h)


def akri_set_onboard_handler(h):
    """GET /onboard."""
    _default.set_handler_generic("/onboard", "GET", h)


def akri_set_temp_handler(h):
    """GET /temp."""
    _default.set_handler_generic("/temp", "GET", h)


def akri_set_handler_generic(uri, method, h):
    """Your own endpoint: calls h(req)."""
    _default.set_handler_generic(uri, method, h)


def akri_set_handler_generic_with_context(uri, method, h, context):
    """Your own endpoint: calls h(req, context)."""
    _default.set_handler_generic_with_context(uri, method, h, context)
