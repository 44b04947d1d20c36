from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .errors import OtaError as OtaError
from .service import OtaService as OtaService
from .service import _Board

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

def setup(
    board: _Board,
    settings: Mapping[str, Any] | str | None = None,
    self_test: Callable[[], Awaitable[object]] | None = None,
    on_progress: Callable[[int, int | None], object] | None = None,
    on_event: Callable[[str, str], object] | None = None,
) -> OtaService: ...
def ota_request_handler(req: Any) -> Any: ...
def ota_status_handler(req: Any) -> Any: ...
def ota_cancel_handler(req: Any) -> Any: ...
def onboard_request_handler(req: Any) -> Any: ...
def info_handler(req: Any) -> Any: ...
async def ota_service_begin(ip: str) -> None: ...
async def confirm() -> str: ...
