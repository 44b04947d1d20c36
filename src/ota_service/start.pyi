from collections.abc import Mapping
from typing import Any

from .config import Config
from .service import OtaService

def checked(settings: Mapping[str, Any] | str | None) -> Config: ...
def look_around(service: OtaService) -> None: ...
