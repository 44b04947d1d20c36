from .config import Config
from .errors import OtaError

def from_exception(
    error: Exception, where: str, config: Config, leaf: bytes | None, now: int
) -> OtaError: ...
