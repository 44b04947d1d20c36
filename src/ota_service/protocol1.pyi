import asyncio
from collections.abc import Callable

from .config import Config
from .patience import Patience
from .service import _Board
from .session import Session

async def connect(
    host: str, port: int, config: Config, certificate: bytes, board: _Board
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...
async def receive_firmware(
    reader: asyncio.StreamReader,
    session: Session,
    patience: Patience,
    read_s: float,
    on_progress: Callable[[int, int | None], object],
) -> None: ...
