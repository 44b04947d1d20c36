from collections.abc import Callable, Mapping
from typing import Any

from ota_service import OtaService

from .board import VirtualBoard

def read_settings(path: str) -> dict[str, Any]: ...

class Application:
    service: OtaService | None
    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8032,
        settings: Mapping[str, Any] | None = None,
        on_event: Callable[[str, str], object] | None = None,
        on_ready: Callable[[str, int], object] | None = None,
    ) -> None: ...
    async def __call__(self, board: VirtualBoard) -> None: ...
