import asyncio
from collections.abc import Callable
from typing import Any

from .server import AkriServer as AkriServer

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

_Handler = Callable[[Any], Any]

def akri_server_start(host: str = "0.0.0.0", port: int = 80) -> asyncio.Task[None]: ...
async def akri_server_end() -> None: ...
def akri_set_update_handler(
    h: _Handler, status: _Handler | None = None, cancel: _Handler | None = None
) -> None: ...
def akri_set_info_handler(h: _Handler) -> None: ...
def akri_set_onboard_handler(h: _Handler) -> None: ...
def akri_set_temp_handler(h: _Handler) -> None: ...
def akri_set_handler_generic(uri: str, method: str, h: _Handler) -> None: ...
def akri_set_handler_generic_with_context(
    uri: str, method: str, h: Callable[[Any, Any], Any], context: object
) -> None: ...
