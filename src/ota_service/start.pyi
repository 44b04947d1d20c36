from collections.abc import Mapping
from typing import Any

from .config import Config
from .gate import Memory
from .service import OtaService, _Board

def checked(settings: Mapping[str, Any] | str | None) -> Config: ...
def gate_memory(config: Config, board: _Board) -> Memory: ...
def look_around(service: OtaService) -> None: ...
